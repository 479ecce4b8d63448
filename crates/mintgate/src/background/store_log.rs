//! The background task that keeps the store's write-ahead log short.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::ports::Housekeeping;

use super::{BackgroundTask, StopSignal};

/// Looks at the log again and again, and shortens it.
pub(crate) struct StoreLog(pub(crate) Arc<dyn Housekeeping>);

impl BackgroundTask for StoreLog {
    const NAME: &'static str = "store log";

    async fn round(&mut self, _: &mut StopSignal) {
        if let Err(error) = self.0.shorten_log().await {
            let error = mintgate_domain::chain(&error);
            tracing::debug!(%error, "the store's log was not shortened");
        }
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(5)
    }
}
