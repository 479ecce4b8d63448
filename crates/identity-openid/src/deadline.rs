//! One time limit for all steps of a call of the port.

use std::pin::Pin;
use std::time::Duration;

use mintgate_domain::ports::ProviderError;
use tokio::time::{Sleep, sleep};

/// The time at which a call is given up, in whatever step it is.
pub(crate) struct Deadline {
    limit: Duration,
    expiry: Pin<Box<Sleep>>,
}

impl Deadline {
    /// Makes a deadline that is `limit` from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self { limit, expiry: Box::pin(sleep(limit)) }
    }

    /// Runs a step until the deadline.
    ///
    /// # Errors
    /// [`ProviderError::TimedOut`] if the step is not finished by then.
    pub(crate) async fn bound<T>(
        &mut self,
        step: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        tokio::select! {
            biased;
            result = step => result,
            () = &mut self.expiry => {
                let limit = self.limit.as_millis();
                Err(ProviderError::TimedOut(format!("no result within {limit} ms").into()))
            }
        }
    }
}

/// Runs a call of one step until `limit` has passed.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    Deadline::after(limit).bound(call).await
}
