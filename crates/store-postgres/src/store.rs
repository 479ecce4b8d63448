//! The store itself, and how a port call is carried out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel_async::AsyncPgConnection;
use mintgate_domain::ports::{Clock, Metrics, PoolState, StoreError, StoreHealth, StoreOperation};
use tracing::Instrument;

use crate::config::{InvalidPgConfig, PgConfig};
use crate::connector::Connector;
use crate::error::Failure;
use crate::pool::{Attempt, Pool, Work};
use crate::{migrations, rights};

/// The longest that a search may take.
const SEARCH_TIME_LIMIT: Duration = Duration::from_secs(5);

/// Users, sessions and signing keys in Postgres.
pub struct PgStore {
    pub(crate) connector: Connector,
    pool: Pool,
    /// One connection for searches, which read everything, with a shorter time limit.
    search: Pool,
    /// One connection for those who ask whether the store can be used.
    pub(crate) health: Pool,
    metrics: Arc<dyn Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl PgStore {
    /// Sets the store up. No connection is made yet: a database that is down at the start is
    /// found when it is up.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    ///
    /// # Panics
    /// Outside a Tokio runtime, which looks after the pool.
    pub fn connect(
        config: &PgConfig,
        metrics: Arc<dyn Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidPgConfig> {
        config.check_limits()?;
        let connector = Connector::new(config)?;
        let pool = Pool::new(connector.clone(), config, Arc::clone(&clock));
        let one = PgConfig { pool_size: 1, ..config.clone() };
        let health = Pool::new(connector.clone(), &one, Arc::clone(&clock));
        let statement_timeout = config.statement_timeout.min(SEARCH_TIME_LIMIT);
        let searching = PgConfig { statement_timeout, ..one };
        let search = Pool::new(Connector::new(&searching)?, &searching, Arc::clone(&clock));
        Ok(Self { connector, pool, search, health, metrics, clock })
    }

    /// Brings the schema up to date and returns the names of the migrations that were run.
    /// Several replicas may do so at once: one does, the others wait as long as it lives. A lock that somebody
    /// holds is waited for until `patience` is over, without anybody waiting behind it; `say` is told whom.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached, a migration fails or does not get its locks;
    /// such a migration left nothing behind.
    pub async fn migrate(
        &self,
        patience: Duration,
        say: migrations::Say<'_>,
    ) -> Result<Vec<String>, StoreError> {
        migrations::run(&self.connector, patience, say).await
    }

    /// What [`PgStore::migrate`] would do, as lines of text: each migration, its locks and how long they are held,
    /// and who would be in its way now. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached.
    pub async fn migration_plan(&self) -> Result<String, StoreError> {
        migrations::plan(&self.connector, &self.applied_migrations().await?).await
    }

    /// The names of the migrations that [`PgStore::migrate`] would run; changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        Ok(migrations::pending(&self.applied_migrations().await?))
    }

    async fn applied_migrations(&self) -> Result<Vec<String>, StoreError> {
        let work =
            async |connection: &mut AsyncPgConnection, _| migrations::applied(connection).await;
        self.pool.run(work).await
    }

    /// Carries out a port call: `work` has a connection, and is run again on another one if the
    /// connection breaks, which MUST be harmless. The call is timed, and is a span of its own.
    ///
    /// The bound on `AsyncFn` gives the closure its signature, the one on [`Work`] has its future be
    /// `Send`.
    pub(crate) fn run<'a, T, F>(
        &'a self,
        operation: StoreOperation,
        work: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'a
    where
        T: Send + 'a,
        F: AsyncFn(&mut AsyncPgConnection, Attempt) -> Result<T, Failure>
            + for<'c> Work<'c, T>
            + 'a,
    {
        self.run_on(&self.pool, operation, work)
    }

    /// As [`run`](Self::run), on the connection for searches.
    pub(crate) fn search<'a, T, F>(
        &'a self,
        work: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'a
    where
        T: Send + 'a,
        F: AsyncFn(&mut AsyncPgConnection, Attempt) -> Result<T, Failure>
            + for<'c> Work<'c, T>
            + 'a,
    {
        self.run_on(&self.search, StoreOperation::FindAccounts, work)
    }

    fn run_on<'a, T, F>(
        &'a self,
        pool: &'a Pool,
        operation: StoreOperation,
        work: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'a
    where
        T: Send + 'a,
        F: AsyncFn(&mut AsyncPgConnection, Attempt) -> Result<T, Failure>
            + for<'c> Work<'c, T>
            + 'a,
    {
        let span = tracing::debug_span!(
            "store call",
            otel.kind = "client",
            db.system.name = "postgresql",
            db.operation.name = operation.name(),
        );
        async move {
            let started = self.clock.monotonic();
            let result = pool.run(work).await;
            self.metrics.store_query(operation, self.clock.monotonic().saturating_sub(started));
            result
        }
        .instrument(span)
    }
}

#[async_trait]
impl StoreHealth for PgStore {
    async fn check(&self) -> Result<(), StoreError> {
        let work = async |connection: &mut AsyncPgConnection, _| {
            let applied = migrations::applied(connection).await?;
            migrations::require_current(&applied)?;
            rights::require_writable(connection).await
        };
        self.health.run(work).await
    }

    fn pool_state(&self) -> PoolState {
        self.pool.state()
    }
}
