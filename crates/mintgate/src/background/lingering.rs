//! Work that outlives the request that began it.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::ports::Background;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a service that stops waits for such work: a provider's default time limit.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Runs such work as tasks of one runtime.
pub(crate) struct Lingering {
    runtime: Handle,
    tasks: Mutex<JoinSet<()>>,
}

impl Lingering {
    /// On the runtime of the caller.
    pub(crate) fn new() -> Self {
        Self { runtime: Handle::current(), tasks: Mutex::default() }
    }

    /// Waits for what is still under way, for five seconds at most.
    pub(crate) async fn end(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if timeout(LAST_WAIT, tasks.join_all()).await.is_err() {
            tracing::warn!("a provider did not answer a question about a session before the stop");
        }
    }
}

#[async_trait]
impl Background for Lingering {
    async fn run(&self, work: Pin<Box<dyn Future<Output = ()> + Send>>, patience: Duration) {
        let (done, finished) = oneshot::channel::<()>();
        {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            let work = async move {
                work.await;
                drop(done);
            };
            tasks.spawn_on(work, &self.runtime);
        }
        let _ = timeout(patience, finished).await;
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn work_is_waited_for_as_long_as_there_is_patience_and_ends_all_the_same() {
        let lingering = Lingering::new();
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (signal, report) = (Arc::clone(&go), Arc::clone(&done));
        let slow = Box::pin(async move {
            signal.notified().await;
            report.notify_one();
        });
        lingering.run(slow, Duration::from_millis(1)).await;
        go.notify_one();
        lingering.end().await;
        done.notified().await;
        let report = Arc::clone(&done);
        let quick = Box::pin(async move { report.notify_one() });
        lingering.run(quick, Duration::from_mins(1)).await;
        done.notified().await;
    }
}
