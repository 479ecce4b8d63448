//! The store itself, and its health.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::SqliteConnection;
use mintgate_domain::Cause;
use mintgate_domain::ports::{Clock, Metrics, PoolState, StoreError, StoreHealth, StoreOperation};
use tracing::Instrument;

use crate::config::{CannotOpen, SqliteConfig};
use crate::error::Failure;
use crate::file::{self, OpenedFile};
use crate::migrations;
use crate::pool::Pool;
use crate::write_ahead::WriteAheadLog;

/// Readers do not wait for the writer, nor it for them; more than a few do not help one disk.
const READERS: u32 = 4;

/// Users, sessions and keys in one file.
pub struct SqliteStore {
    /// One connection: writers queue here, where waiting costs nothing, rather than at the lock.
    pub(crate) writer: Pool,
    pub(crate) readers: Pool,
    /// One connection for searches, which read everything.
    pub(crate) search: Pool,
    /// One connection for those who ask whether the store can be used.
    pub(crate) health: Pool,
    pub(crate) file: Arc<OpenedFile>,
    pub(crate) log: WriteAheadLog,
    pub(crate) busy_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<dyn Metrics>,
}

impl SqliteStore {
    /// Opens the database, with an empty file if there is none. For the start of a program: it
    /// waits for the disk.
    ///
    /// # Errors
    /// If the file cannot be made or is no database; the text says what to do.
    ///
    /// # Panics
    /// Outside a Tokio runtime, which looks after the connections.
    pub fn open(
        config: &SqliteConfig,
        metrics: Arc<dyn Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CannotOpen> {
        let address = file::prepare(&config.path, config.busy_timeout)?;
        let cannot = |e| CannotOpen {
            path: config.path.clone(),
            cause: Cause::from_error("it cannot be looked at", e),
        };
        let file = Arc::new(OpenedFile::at(address.clone().into()).map_err(cannot)?);
        let log = WriteAheadLog::beside(&std::fs::canonicalize(&address).map_err(cannot)?);
        let pool = |size| Pool::new(address.clone(), Arc::clone(&file), size, config.busy_timeout);
        let (writer, readers, search, health) = (pool(1), pool(READERS), pool(1), pool(1));
        let busy_timeout = config.busy_timeout;
        Ok(Self { writer, readers, search, health, file, log, busy_timeout, clock, metrics })
    }

    /// Brings the schema up to date and returns the names of the migrations that were run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if a migration fails; nothing of it is left behind then.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.writer.transact(migrations::run).await
    }

    /// The names of the migrations that [`SqliteStore::migrate`] would run; changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the file cannot be read.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.readers.run(migrations::pending).await
    }

    /// Runs `work` on one of the readers, which do not wait for the writer.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        operation: StoreOperation,
        work: impl FnOnce(&mut SqliteConnection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.observed(operation, self.readers.run(work)).await
    }

    /// Writes, as one transaction that takes the write lock before it looks.
    pub(crate) async fn write<R: Send + 'static>(
        &self,
        operation: StoreOperation,
        work: impl FnOnce(&mut SqliteConnection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.observed(operation, self.writer.transact(work)).await
    }

    /// Measures a call of a port, and puts it into a span.
    pub(crate) async fn observed<T>(
        &self,
        operation: StoreOperation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = tracing::debug_span!(
            "store",
            db.system.name = "sqlite",
            db.operation.name = operation.name()
        );
        let started = self.clock.monotonic();
        let result = call.instrument(span).await;
        self.metrics.store_query(operation, self.clock.monotonic().saturating_sub(started));
        result
    }
}

#[async_trait]
impl StoreHealth for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        let file = Arc::clone(&self.file);
        let checked = self.health.run(move |connection| {
            file.require_in_place()?;
            migrations::require_current(connection)?;
            Ok(file.require_writable()?)
        });
        checked.await
    }

    fn pool_state(&self) -> PoolState {
        let (writer, readers) = (self.writer.state(), self.readers.state());
        PoolState { idle: writer.idle + readers.idle, in_use: writer.in_use + readers.in_use }
    }
}
