//! Where use cases run: on the runtime that built the service, which outlives every HTTP worker.
//!
//! A pooled connection to a provider or to Postgres is driven by a task of the runtime that opened
//! it. Were that a worker's, an idle worker that stops at a shutdown would cut connections that the
//! requests in flight on other workers are using.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Runs a future there; it is cancelled if the caller is, and panics where the caller waits.
pub(super) async fn run<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut task = AbortOnDrop(runtime.spawn(work));
    output(&mut task.0).await
}

/// Runs a future there to its end, also when the caller is cancelled; panics where the caller waits.
///
/// For what must not stop half-way because a client went away: a page that signs out and is closed.
pub(super) async fn run_detached<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    output(&mut runtime.spawn(work)).await
}

async fn output<T>(task: &mut JoinHandle<T>) -> T {
    match task.await {
        Ok(output) => output,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only the end of the runtime, or of whoever waits, cancels it, and then nobody waits.
        Err(_) => std::future::pending().await,
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
