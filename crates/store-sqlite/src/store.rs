//! The store itself: the ports on top of the transactions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    ExternalIdentity, IdempotencyKey, KeyId, KeyRecord, KeyUse, LinkedIdentity, NewIdentity,
    RevokeReason, Rotation, SealedToken, Session, SessionEnd, SessionId, SessionOpening, SingleUse,
    Timestamp, User, UserId,
};
use mintgate_domain::ports::{
    Clock, EndOutcome, Housekeeping, KeyRepo, LinkOutcome, LogoutOrder, Metrics, OpenOutcome,
    PoolState, ProviderLogoutOutcome, RefreshTokenRepo, RotateOutcome, StoreError, StoreHealth,
    StoreOperation, SweepStep, Swept, UnlinkOutcome, UpstreamRenewal, UpstreamTokenRepo,
    UserDirectory,
};

use crate::config::{CannotOpen, SqliteConfig};
use crate::end_provider_sessions::end_provider_sessions;
use crate::end_session::{end_session, end_user_sessions};
use crate::find_session::{find_opening, find_session, find_session_and_user, live_sessions};
use crate::find_user::find_user;
use crate::identities::identities;
use crate::keys::refresh_key_in_use;
use crate::link_identity::link_identity;
use crate::open_session::open_session;
use crate::pool::Pool;
use crate::rotate::rotate;
use crate::sweep_duty::{claim_sweep, end_sweep};
use crate::unlink_identity::unlink_identity;
use crate::{file, keys, migrations, sweep, upstream};

/// Readers do not wait for the writer, nor it for them; more than a few do not help one disk.
const READERS: u32 = 4;

/// Users, sessions and keys in one file.
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

    async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        let call = self.readers.run(move |connection| identities(connection, user));
        self.timed(StoreOperation::Identities, call).await
    }

    async fn link_identity(
        &self,
        user: UserId,
        identity: &NewIdentity,
        single_use: Option<SingleUse>,
    ) -> Result<LinkOutcome, StoreError> {
        let new = identity.clone();
        let call =
            self.writer.run(move |connection| link_identity(connection, user, &new, single_use));
        self.timed(StoreOperation::LinkIdentity, call).await
    }

    async fn unlink_identity(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<UnlinkOutcome, StoreError> {
        let (identity, end) = (identity.clone(), SessionEnd { at: now, reason });
        let call = self
            .writer
            .run(move |connection| unlink_identity(connection, user, &identity, keep, end));
        self.timed(StoreOperation::UnlinkIdentity, call).await
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
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, Session)>, StoreError> {
        let call = self.readers.run(move |connection| find_opening(connection, key, now));
        self.timed(StoreOperation::FindOpening, call).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        let rotation = rotation.clone();
        let call = self.writer.run(move |connection| rotate(connection, &rotation));
        self.timed(StoreOperation::Rotate, call).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let call = self.readers.run(move |connection| find_session(connection, id));
        self.timed(StoreOperation::FindSession, call).await
    }

    async fn find_session_and_user(
        &self,
        id: SessionId,
    ) -> Result<Option<(Session, User)>, StoreError> {
        let call = self.readers.run(move |connection| find_session_and_user(connection, id));
        self.timed(StoreOperation::FindSession, call).await
    }

    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let call = self.readers.run(move |connection| live_sessions(connection, user, now, limit));
        self.timed(StoreOperation::LiveSessions, call).await
    }

    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        let call =
            self.writer.run(move |connection| end_session(connection, id, user, reason, now));
        self.timed(StoreOperation::EndSession, call).await
    }

    async fn end_user_sessions(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let call =
            self.writer.run(move |connection| end_user_sessions(connection, user, reason, now));
        self.timed(StoreOperation::EndUserSessions, call).await
    }

    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        let order = order.clone();
        let call =
            self.writer.run(move |connection| end_provider_sessions(connection, &order, now));
        self.timed(StoreOperation::EndProviderSessions, call).await
    }
}

#[async_trait]
impl UpstreamTokenRepo for SqliteStore {
    async fn claim_upstream(
        &self,
        session: SessionId,
        due: Timestamp,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<SealedToken>, StoreError> {
        let claim = upstream::Claim { session, due, now, lease };
        let call = async {
            // Most refreshes find that nothing is due, and need not wait for the writer.
            if !self.readers.run(move |connection| upstream::is_free(connection, claim)).await? {
                return Ok(None);
            }
            self.writer.run(move |connection| upstream::claim(connection, claim)).await
        };
        self.timed(StoreOperation::Upstream, call).await
    }

    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        let renewal = renewal.clone();
        let call = self.writer.run(move |connection| upstream::keep(connection, session, &renewal));
        self.timed(StoreOperation::Upstream, call).await
    }
}

#[async_trait]
impl Housekeeping for SqliteStore {
    async fn claim_sweep(
        &self,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        let call = self.writer.run(move |connection| claim_sweep(connection, now, lease, every));
        self.timed(StoreOperation::Sweep, call).await
    }

    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        let step = *step;
        let call = async {
            let due = self.readers.run(move |connection| sweep::look(connection, &step)).await?;
            if due.is_nothing() {
                return Ok(Swept { next: due.next, ..Swept::default() });
            }
            self.writer.run(move |connection| sweep::write(connection, &step, &due)).await
        };
        self.timed(StoreOperation::Sweep, call).await
    }

    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let id = id.clone();
        let call = self.readers.run(move |connection| refresh_key_in_use(connection, &id, now));
        self.timed(StoreOperation::Sweep, call).await
    }

    async fn end_sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let call = self.writer.run(move |connection| end_sweep(connection, now));
        self.timed(StoreOperation::Sweep, call).await
    }
}

#[async_trait]
impl KeyRepo for SqliteStore {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.timed(StoreOperation::Keys, self.readers.run(keys::list_keys)).await
    }

    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError> {
        let record = record.clone();
        let call = self.writer.run(move |connection| keys::add_key(connection, &record));
        self.timed(StoreOperation::Keys, call).await
    }

    async fn activate_key(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        let call =
            self.writer.run(move |connection| keys::activate_key(connection, key_use, &id, at));
        self.timed(StoreOperation::Keys, call).await
    }

    async fn remove_key(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, StoreError> {
        let id = id.clone();
        let call = self.writer.run(move |connection| keys::remove_key(connection, key_use, &id));
        self.timed(StoreOperation::Keys, call).await
    }
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
