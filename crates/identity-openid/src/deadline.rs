//! One limit of time for everything that a call of the port does.

use std::pin::Pin;
use std::time::Duration;

use mintgate_domain::ports::ProviderError;
use tokio::time::{Sleep, sleep};

/// When a call gives up, whichever of its steps it is at.
pub(crate) struct Deadline {
    limit: Duration,
    over: Pin<Box<Sleep>>,
}

impl Deadline {
    /// Begins now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self { limit, over: Box::pin(sleep(limit)) }
    }

    /// Takes a step, or gives up on it.
    pub(crate) async fn bound<T>(
        &mut self,
        step: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        tokio::select! {
            biased;
            result = step => result,
            () = &mut self.over => {
                let limit = self.limit.as_millis();
                Err(ProviderError::TimedOut(format!("nothing for {limit} ms").into()))
            }
        }
    }
}

/// Gives up on a call of one step after so long.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    Deadline::after(limit).bound(call).await
}
