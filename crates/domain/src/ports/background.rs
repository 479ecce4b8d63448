//! Work that may outlive the request that began it.

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;

/// Runs work that must not be given up with its caller.
#[async_trait]
pub trait Background: Send + Sync {
    /// Starts `work`, and returns when it has ended or `patience` has passed. The work MUST go on
    /// after that, and when the caller goes away; a service that stops MUST give it time to end.
    async fn run(&self, work: Pin<Box<dyn Future<Output = ()> + Send>>, patience: Duration);

    /// Returns after this time.
    async fn pause(&self, time: Duration);
}
