//! The background task by which the other processes on the store know that this one lives.

use std::sync::Arc;
use std::time::Duration;

use super::{BackgroundTask, StopSignal};
use crate::replicas::{INTERVAL, Presence};

/// The pause as long as the store has never said who else lives.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Says again and again that the process lives.
pub(crate) struct SignOfLife(pub(crate) Arc<Presence>);

impl BackgroundTask for SignOfLife {
    const NAME: &'static str = "sign of life";

    async fn round(&mut self, _: &mut StopSignal) {
        // What comes of it is noted and logged there.
        let _ = self.0.announce().await;
    }

    fn pause(&self) -> Duration {
        if self.0.is_known() { INTERVAL } else { RETRY_PAUSE }
    }
}
