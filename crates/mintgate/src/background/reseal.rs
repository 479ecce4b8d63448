//! The background task that seals anew what is sealed under a former key-encryption key.

use std::time::Duration;

use mintgate_signer_jose::Resealing;

use super::{BackgroundTask, StopSignal};

/// The pause between two steps, so that requests always come first.
const PAUSE: Duration = Duration::from_millis(50);

/// Seals anew, round after round, and says in the log when this begins or ceases to fail.
pub(crate) struct Reseal {
    pub(crate) resealing: Resealing,
    pub(crate) failing: bool,
}

impl BackgroundTask for Reseal {
    const NAME: &'static str = "resealing";

    async fn round(&mut self, stopping: &mut StopSignal) {
        let goes_on = || {
            let mut stopping = stopping.clone();
            async move { !stopping.comes_within(PAUSE).await }
        };
        let done = self.resealing.round(goes_on).await;
        match &done {
            Err(error) if !self.failing => {
                let error = mintgate_domain::chain(error);
                tracing::warn!(%error, "what is sealed in the store cannot be sealed anew at present");
            }
            Ok(()) if self.failing => {
                tracing::info!("what is sealed in the store can be sealed anew again");
            }
            _ => {}
        }
        self.failing = done.is_err();
    }

    fn pause(&self) -> Duration {
        self.resealing.every()
    }
}
