//! The background task by which the log of revocations knows how long its entries matter.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::ports::RevocationLog;

use super::{BackgroundTask, StopSignal};

/// Says again and again how long access tokens live.
pub(crate) struct RevocationLifetime {
    pub(crate) log: Arc<dyn RevocationLog>,
    pub(crate) lifetime: Duration,
}

impl BackgroundTask for RevocationLifetime {
    const NAME: &'static str = "revocation lifetime";

    async fn round(&mut self, _: &mut StopSignal) {
        if let Err(error) = self.log.keep_revocations_for(self.lifetime).await {
            let error = mintgate_domain::chain(&error);
            tracing::debug!(%error, "the log of revocations was not told how long tokens live");
        }
    }

    /// Shorter than the shortest lifetime, which is two minutes and a second.
    fn pause(&self) -> Duration {
        Duration::from_mins(1)
    }
}
