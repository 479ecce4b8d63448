//! What drives a connection, and hears what the server says beside its answers.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;
use tokio_postgres::error::Severity;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{AsyncMessage, Connection, Socket};

/// The task that moves a connection's messages. The connection is closed when this is dropped, even if the server
/// still owes an answer.
pub(crate) struct Driver {
    task: JoinHandle<()>,
    warnings: Arc<AtomicU64>,
}

impl Driver {
    /// Drives a connection on this runtime.
    pub(crate) fn start<T>(mut connection: Connection<Socket, T>) -> Self
    where
        T: TlsStream + Unpin + Send + 'static,
    {
        let warnings = Arc::<AtomicU64>::default();
        let heard = Arc::clone(&warnings);
        // A connection that fails ends the task; its client then says that it is closed.
        let task = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.parsed_severity() == Some(Severity::Warning)
                {
                    // Before the end of the answer that it belongs to is passed on.
                    heard.fetch_add(1, Ordering::Release);
                }
            }
        });
        Self { task, warnings }
    }

    /// How many warnings the server has sent so far. The one that matters says that a commit is on this server
    /// alone, because its wait for a synchronous standby was cancelled.
    pub(crate) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Acquire)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
