//! The store itself: the ports on top of the statements.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    ExternalIdentity, IdempotencyKey, KeyId, KeyRecord, KeyUse, RevokeReason, Rotation, Session,
    SessionId, SessionOpening, Timestamp, User, UserId,
};
use mintgate_domain::ports::{
    Clock, EndOutcome, Housekeeping, KeyRepo, Metrics, OpenOutcome, PoolState, RefreshTokenRepo,
    RotateOutcome, StoreError, StoreHealth, StoreOperation, SweepStep, Swept, UserDirectory,
};

use crate::config::{InvalidPgConfig, PgConfig};
use crate::connector::Connector;
use crate::find_user::FindUser;
use crate::migrations::{self, AppliedMigrations};
use crate::open_session::Values;
use crate::pool::{Pool, Statement};

/// Users and sessions in Postgres.
pub struct PgStore {
    connector: Connector,
    pool: Pool,
    metrics: Arc<dyn Metrics>,
    clock: Arc<dyn Clock>,
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
        config.check()?;
        let connector = Connector::new(config)?;
        let pool = Pool::new(connector.clone(), config, Arc::clone(&clock));
        Ok(Self { connector, pool, metrics, clock })
    }

    /// Brings the schema up to date and returns the names of the migrations that were run.
    /// Several replicas may do so at once: one does, the others wait for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached or a migration fails; a
    /// migration that failed left nothing behind.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        migrations::run(&self.connector).await
    }

    /// The names of the migrations that [`PgStore::migrate`] would run; changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        migrations::pending(&self.pool.run(&AppliedMigrations).await?)
    }

    async fn timed<S: Statement>(
        &self,
        operation: StoreOperation,
        statement: &S,
    ) -> Result<S::Output, StoreError> {
        let started = self.clock.monotonic();
        let result = self.pool.run(statement).await;
        self.metrics.store_query(operation, self.clock.monotonic().saturating_sub(started));
        result
    }
}

#[async_trait]
impl UserDirectory for PgStore {
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<User>, StoreError> {
        self.timed(StoreOperation::FindUser, &FindUser(identity)).await
    }
}

#[async_trait]
impl RefreshTokenRepo for PgStore {
    async fn open_session(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        let values = Values::try_from(opening)?;
        self.timed(StoreOperation::OpenSession, &values.statement()).await
    }

    async fn find_opening(
        &self,
        _: TokenHash,
        _: Timestamp,
    ) -> Result<Option<(IdempotencyKey, Session)>, StoreError> {
        Err(unwritten())
    }

    async fn rotate(&self, _: &Rotation) -> Result<RotateOutcome, StoreError> {
        Err(unwritten())
    }

    async fn find_session(&self, _: SessionId) -> Result<Option<Session>, StoreError> {
        Err(unwritten())
    }

    async fn live_sessions(
        &self,
        _: UserId,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<Session>, StoreError> {
        Err(unwritten())
    }

    async fn end_session(
        &self,
        _: SessionId,
        _: UserId,
        _: RevokeReason,
        _: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        Err(unwritten())
    }

    async fn end_user_sessions(
        &self,
        _: UserId,
        _: RevokeReason,
        _: Timestamp,
    ) -> Result<u64, StoreError> {
        Err(unwritten())
    }
}

#[async_trait]
impl Housekeeping for PgStore {
    async fn claim_sweep(
        &self,
        _: Timestamp,
        _: Duration,
        _: Duration,
    ) -> Result<bool, StoreError> {
        Err(unwritten())
    }

    async fn sweep(&self, _: &SweepStep) -> Result<Swept, StoreError> {
        Err(unwritten())
    }

    async fn refresh_key_in_use(&self, _: &KeyId, _: Timestamp) -> Result<bool, StoreError> {
        Err(unwritten())
    }

    async fn end_sweep(&self, _: Timestamp) -> Result<(), StoreError> {
        Err(unwritten())
    }
}

#[async_trait]
impl KeyRepo for PgStore {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        Err(unwritten())
    }

    async fn add_key(&self, _: &KeyRecord) -> Result<bool, StoreError> {
        Err(unwritten())
    }

    async fn activate_key(&self, _: KeyUse, _: &KeyId, _: Timestamp) -> Result<bool, StoreError> {
        Err(unwritten())
    }

    async fn remove_key(&self, _: KeyUse, _: &KeyId) -> Result<bool, StoreError> {
        Err(unwritten())
    }
}

fn unwritten() -> StoreError {
    StoreError::Unavailable("not written yet".to_owned())
}

#[async_trait]
impl StoreHealth for PgStore {
    async fn check(&self) -> Result<(), StoreError> {
        migrations::require_current(&self.pool.run(&AppliedMigrations).await?)
    }

    fn pool_state(&self) -> PoolState {
        self.pool.state()
    }
}
