//! The background task by which the other processes on the store know that this one lives.

use std::sync::Arc;
use std::time::Duration;

use mintgate_signer_jose::Presence;

use super::{BackgroundTask, StopSignal};

/// Says again and again that the process lives.
pub(crate) struct SignOfLife(pub(crate) Arc<Presence>);

impl BackgroundTask for SignOfLife {
    const NAME: &'static str = "sign of life";

    async fn round(&mut self, _: &mut StopSignal) {
        // What comes of it is noted and logged there.
        let _ = self.0.announce().await;
    }

    fn pause(&self) -> Duration {
        self.0.pause()
    }
}
