//! Connections, and the hop onto a blocking thread that each call is.

use std::time::Duration;

use bb8::ManageConnection;
use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use mintgate_domain::Cause;
use mintgate_domain::ports::{PoolState, StoreError};

use crate::blocking::Detached;
use crate::error::Failure;
use crate::file;

/// A connection of the pool, and whether it can still be used.
pub(crate) struct Pooled {
    connection: SyncConnectionWrapper<SqliteConnection, Detached>,
    broken: bool,
}

/// Makes connections, and says which are of use still.
pub(crate) struct Manager {
    address: String,
    busy_timeout: Duration,
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = Cause;

    async fn connect(&self) -> Result<Pooled, Cause> {
        let (address, busy_timeout) = (self.address.clone(), self.busy_timeout);
        let made = tokio::task::spawn_blocking(move || file::establish(&address, busy_timeout));
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
pub(crate) struct Pool(bb8::Pool<Manager>);

impl Pool {
    /// Makes no connection; that happens at first use.
    pub(crate) fn new(address: String, size: u32, busy_timeout: Duration) -> Self {
        let builder = bb8::Pool::builder()
            .max_size(size)
            .max_lifetime(None)
            .idle_timeout(None)
            .test_on_check_out(false)
            .connection_timeout(busy_timeout);
        Self(builder.build_unchecked(Manager { address, busy_timeout }))
    }

    /// Does some work with a connection, on a blocking thread.
    ///
    /// The work goes on to its end if the caller does not wait for it; the next to use the
    /// connection waits for that.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, StoreError> {
        let mut pooled = self.0.get().await.map_err(|e| match e {
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

    /// Does some work as one transaction, which takes the write lock before it looks.
    pub(crate) async fn transact<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.run(|connection| connection.immediate_transaction(work)).await
    }

    pub(crate) fn state(&self) -> PoolState {
        let state = self.0.state();
        let idle = state.idle_connections;
        PoolState { idle, in_use: state.connections.saturating_sub(idle) }
    }
}
