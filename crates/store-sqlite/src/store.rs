//! The store itself: the ports on top of the transactions.

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

use crate::config::{CannotOpen, SqliteConfig};
use crate::find_user::find_user;
use crate::open_session::open_session;
use crate::pool::Pool;
use crate::{file, migrations};

/// Readers do not wait for the writer, nor it for them; more than a few do not help one disk.
const READERS: u32 = 4;

/// Users and sessions in one file.
pub struct SqliteStore {
    /// One connection: writers queue here, where waiting costs nothing, rather than at the lock.
    writer: Pool,
    readers: Pool,
    metrics: Arc<dyn Metrics>,
    clock: Arc<dyn Clock>,
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
        let writer = Pool::new(address.clone(), 1, config.busy_timeout);
        let readers = Pool::new(address, READERS, config.busy_timeout);
        Ok(Self { writer, readers, metrics, clock })
    }

    /// Brings the schema up to date and returns the names of the migrations that were run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if a migration fails; nothing of it is left behind then.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.writer.run(migrations::run).await
    }

    /// The names of the migrations that [`SqliteStore::migrate`] would run; changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the file cannot be read.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.readers.run(migrations::pending).await
    }

    async fn timed<T>(
        &self,
        operation: StoreOperation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = self.clock.monotonic();
        let result = call.await;
        self.metrics.store_query(operation, self.clock.monotonic().saturating_sub(started));
        result
    }
}

#[async_trait]
impl UserDirectory for SqliteStore {
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<User>, StoreError> {
        let identity = identity.clone();
        let call = self.readers.run(move |connection| find_user(connection, &identity));
        self.timed(StoreOperation::FindUser, call).await
    }
}

#[async_trait]
impl RefreshTokenRepo for SqliteStore {
    async fn open_session(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        let opening = opening.clone();
        let call = self.writer.run(move |connection| open_session(connection, &opening));
        self.timed(StoreOperation::OpenSession, call).await
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
impl Housekeeping for SqliteStore {
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
impl KeyRepo for SqliteStore {
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
impl StoreHealth for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.readers.run(migrations::require_current).await
    }

    fn pool_state(&self) -> PoolState {
        let (writer, readers) = (self.writer.state(), self.readers.state());
        PoolState { idle: writer.idle + readers.idle, in_use: writer.in_use + readers.in_use }
    }
}
