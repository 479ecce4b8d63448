//! How work gets onto blocking threads.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use diesel_async::sync_connection_wrapper::SpawnBlocking;

type Spawned<'a, R> =
    Pin<Box<dyn Future<Output = Result<R, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Tokio's blocking threads; work goes on to its end when nobody waits for it any more.
///
/// The library's own choice waits for the work instead, in a destructor: on the
/// single-threaded runtimes that serve requests, a client that hangs up would cause a panic.
pub(crate) struct Detached;

impl SpawnBlocking for Detached {
    fn spawn_blocking<'a, R>(&mut self, task: impl FnOnce() -> R + Send + 'static) -> Spawned<'a, R>
    where
        R: Send + 'static,
    {
        let running = tokio::task::spawn_blocking(task);
        Box::pin(async move { running.await.map_err(Box::from) })
    }

    fn get_runtime() -> Self {
        Self
    }
}
