//! Connections, and the hop onto a blocking thread that each call is.

use std::sync::Arc;
use std::time::Duration;

use bb8::ManageConnection;
use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use mintgate_domain::Cause;
use mintgate_domain::ports::{PoolState, StoreError};

use crate::blocking::Detached;
use crate::error::Failure;
use crate::file::{self, OpenedFile};

/// A connection of the pool, and whether it can still be used.
pub(crate) struct Pooled {
    connection: SyncConnectionWrapper<SqliteConnection, Detached>,
    broken: bool,
}

/// Makes connections, and says which are of use still.
pub(crate) struct Manager {
    address: String,
    file: Arc<OpenedFile>,
    busy_timeout: Duration,
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = Cause;

    async fn connect(&self) -> Result<Pooled, Cause> {
        let (address, busy_timeout) = (self.address.clone(), self.busy_timeout);
        let file = Arc::clone(&self.file);
        let made = tokio::task::spawn_blocking(move || {
            // SQLite would make a new file.
            file.require_in_place().map_err(|e| Cause::from_error("the file is not there", e))?;
            file::establish(&address, busy_timeout)
        });
        let connection = made.await.map_err(|e| Cause::from_error("a task failed", e)).flatten()?;
        let connection = SyncConnectionWrapper::with_runtime(connection, Detached);
        Ok(Pooled { connection, broken: false })
    }

    /// Never asked: `test_on_check_out` is off.
    async fn is_valid(&self, _: &mut Pooled) -> Result<(), Cause> {
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        pooled.broken
    }
}

/// A pool of connections to the database file.
pub(crate) struct Pool {
    connections: bb8::Pool<Manager>,
    file: Arc<OpenedFile>,
}

impl Pool {
    /// Makes no connection; that happens at first use.
    pub(crate) fn new(
        address: String,
        file: Arc<OpenedFile>,
        size: u32,
        busy_timeout: Duration,
    ) -> Self {
        let builder = bb8::Pool::builder()
            .max_size(size)
            .max_lifetime(None)
            .idle_timeout(None)
            .test_on_check_out(false)
            .connection_timeout(busy_timeout);
        let manager = Manager { address, file: Arc::clone(&file), busy_timeout };
        Self { connections: builder.build_unchecked(manager), file }
    }

    /// Does some work with a connection, on a blocking thread.
    ///
    /// The work goes on to its end if the caller does not wait for it; the next to use the
    /// connection waits for that.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, StoreError> {
        let mut pooled = self.connections.get().await.map_err(|e| match e {
            bb8::RunError::User(cause) => StoreError::Unavailable(cause),
            bb8::RunError::TimedOut => {
                StoreError::Unavailable("no connection became free in time".into())
            }
        })?;
        let hop = pooled.connection.spawn_blocking(move |connection| {
            let result = work(connection).map_err(|failure| failure.diagnose(connection));
            // A transaction that could neither be committed nor rolled back.
            let broken = AnsiTransactionManager::is_broken_transaction_manager(connection);
            Ok((result, broken))
        });
        match hop.await {
            Ok((result, broken)) => {
                pooled.broken = broken;
                result
            }
            // The work panicked, and may have left a transaction open.
            Err(e) => {
                pooled.broken = true;
                Err(StoreError::Unavailable(Cause::from_error("a statement did not end", e)))
            }
        }
    }

    /// Does some work as one transaction, which takes the write lock before it looks. It is committed
    /// only if the file is in its place.
    pub(crate) async fn transact<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, StoreError> {
        let file = Arc::clone(&self.file);
        self.run(move |connection| {
            connection.immediate_transaction(|connection| {
                let result = work(connection)?;
                file.require_in_place()?;
                Ok(result)
            })
        })
        .await
    }

    pub(crate) fn state(&self) -> PoolState {
        let state = self.connections.state();
        let idle = state.idle_connections;
        PoolState { idle, in_use: state.connections.saturating_sub(idle) }
    }
}
