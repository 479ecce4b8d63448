//! Use cases run on the runtime that built the service, which outlives every HTTP worker.
//!
//! A pooled connection to a provider or to Postgres is driven by a task of the runtime that opened
//! it. On a worker's runtime, an idle worker that stops at shutdown would cut connections that
//! requests in flight on other workers still use.

use std::future::Future;

use mintgate_domain::Origin;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Runs `work` on `runtime`, from the same [`Origin`] as the caller. It is cancelled if the caller is; a panic continues in the caller.
pub(crate) async fn run<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut task = AbortOnDrop(runtime.spawn(Origin::scope(Origin::current(), work)));
    output(&mut task.0).await
}

/// Runs `work` on `runtime` to its end, even if the caller is cancelled; a panic continues in the
/// caller.
pub(crate) async fn run_to_end<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    output(&mut runtime.spawn(Origin::scope(Origin::current(), work))).await
}

async fn output<T>(task: &mut JoinHandle<T>) -> T {
    match task.await {
        Ok(output) => output,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // A task is cancelled only by the end of its runtime or of its caller; nobody waits then.
        Err(_) => std::future::pending().await,
    }
}

/// A task that is cancelled when this is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
