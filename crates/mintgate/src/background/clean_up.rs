//! The clean-up of the store, round after round.

use std::time::Duration;

use mintgate_domain::CleanUp;
use mintgate_domain::ports::Swept;

use super::{BackgroundTask, StopSignal};

/// The pause between two steps, so that requests always come first.
const PAUSE: Duration = Duration::from_millis(50);

/// Cleans up, and says in the log what was ended and deleted, and when this begins or ceases to fail.
pub(crate) struct StoreCleanUp {
    clean_up: CleanUp,
    failing: bool,
}

impl StoreCleanUp {
    pub(crate) fn new(clean_up: CleanUp) -> Self {
        Self { clean_up, failing: false }
    }
}

impl BackgroundTask for StoreCleanUp {
    const NAME: &'static str = "clean-up";

    async fn round(&mut self, stopping: &mut StopSignal) {
        let mut done = Swept::default();
        let goes_on = || {
            let mut stopping = stopping.clone();
            async move { !stopping.comes_within(PAUSE).await }
        };
        let swept = self.clean_up.round(goes_on, &mut done).await;
        let Swept { expired_idle, expired_absolute, deleted, next: _ } = done;
        if expired_idle + expired_absolute + deleted > 0 {
            tracing::info!(expired_idle, expired_absolute, deleted, "sessions were cleaned up");
        }
        match &swept {
            Err(error) if !self.failing => {
                let error = mintgate_domain::chain(error);
                tracing::warn!(%error, "the store cannot be cleaned up at present");
            }
            Ok(()) if self.failing => tracing::info!("the store can be cleaned up again"),
            _ => {}
        }
        self.failing = swept.is_err();
    }

    fn pause(&self) -> Duration {
        self.clean_up.every()
    }
}
