//! The store itself: the ports on top of the statements.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    ExternalIdentity, IdempotencyKey, KeyId, KeyRecord, KeyUse, LinkedIdentity, NewIdentity,
    RevokeReason, Rotation, SealedToken, Session, SessionId, SessionOpening, SingleUse, Timestamp,
    User, UserId,
};
use mintgate_domain::ports::{
    Clock, EndOutcome, Housekeeping, KeyRepo, LinkOutcome, LogoutOrder, Metrics, OpenOutcome,
    PoolState, ProviderLogoutOutcome, RefreshTokenRepo, RotateOutcome, StoreError, StoreHealth,
    StoreOperation, SweepStep, Swept, UnlinkOutcome, UpstreamRenewal, UpstreamTokenRepo,
    UserDirectory,
};

use crate::activate_key::ActivateKey;
use crate::add_key::AddKey;
use crate::attempts::Attempts;
use crate::claim_sweep::ClaimSweep;
use crate::claim_upstream::ClaimUpstream;
use crate::config::{InvalidPgConfig, PgConfig};
use crate::connector::Connector;
use crate::end_provider_sessions::EndProviderSessions;
use crate::end_session::EndSession;
use crate::end_sweep::EndSweep;
use crate::end_user_sessions::EndUserSessions;
use crate::find_opening::FindOpening;
use crate::find_session::FindSession;
use crate::find_session_and_user::FindSessionAndUser;
use crate::find_user::FindUser;
use crate::identities::Identities;
use crate::keep_upstream::KeepUpstream;
use crate::link_identity::LinkIdentity;
use crate::list_keys::ListKeys;
use crate::live_sessions::LiveSessions;
use crate::migrations::{self, AppliedMigrations};
use crate::open_session::Values;
use crate::pool::{Pool, Statement};
use crate::refresh_key_in_use::RefreshKeyInUse;
use crate::remove_key::RemoveKey;
use crate::rotate::Rotate;
use crate::sweep::Sweep;
use crate::unlink_identity::UnlinkIdentity;

/// Users, sessions and signing keys in Postgres.
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

    async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        self.timed(StoreOperation::Identities, &Identities(&user)).await
    }

    async fn link_identity(
        &self,
        user: UserId,
        identity: &NewIdentity,
        single_use: Option<SingleUse>,
    ) -> Result<LinkOutcome, StoreError> {
        let (single_use, attempts) = (single_use.as_ref(), Attempts::default());
        let statement = LinkIdentity { user: &user, identity, single_use, attempts };
        self.timed(StoreOperation::LinkIdentity, &statement).await
    }

    async fn unlink_identity(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<UnlinkOutcome, StoreError> {
        let (user, keep, attempts) = (&user, &keep, Attempts::default());
        let statement = UnlinkIdentity { user, identity, keep, reason, now, attempts };
        self.timed(StoreOperation::UnlinkIdentity, &statement).await
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
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, Session)>, StoreError> {
        self.timed(StoreOperation::FindOpening, &FindOpening { key: &key, now }).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        let statement = Rotate::new(rotation, &*self.clock)?;
        self.timed(StoreOperation::Rotate, &statement).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.timed(StoreOperation::FindSession, &FindSession(&id)).await
    }

    async fn find_session_and_user(
        &self,
        id: SessionId,
    ) -> Result<Option<(Session, User)>, StoreError> {
        self.timed(StoreOperation::FindSession, &FindSessionAndUser(&id)).await
    }

    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let statement = LiveSessions { user: &user, now, limit };
        self.timed(StoreOperation::LiveSessions, &statement).await
    }

    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        let statement = EndSession { session: &id, user: &user, reason, now };
        self.timed(StoreOperation::EndSession, &statement).await
    }

    async fn end_user_sessions(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let statement = EndUserSessions { user: &user, reason, now };
        self.timed(StoreOperation::EndUserSessions, &statement).await
    }

    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        let statement = EndProviderSessions { order, now, attempts: Attempts::default() };
        self.timed(StoreOperation::EndProviderSessions, &statement).await
    }
}

#[async_trait]
impl UpstreamTokenRepo for PgStore {
    async fn claim_upstream(
        &self,
        session: SessionId,
        due: Timestamp,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<SealedToken>, StoreError> {
        let statement = ClaimUpstream { session: &session, due, now, lease };
        self.timed(StoreOperation::Upstream, &statement).await
    }

    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        let statement = KeepUpstream { session: &session, renewal };
        self.timed(StoreOperation::Upstream, &statement).await
    }
}

#[async_trait]
impl Housekeeping for PgStore {
    async fn claim_sweep(
        &self,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        self.timed(StoreOperation::Sweep, &ClaimSweep { now, lease, every }).await
    }

    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        self.timed(StoreOperation::Sweep, &Sweep(step)).await
    }

    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.timed(StoreOperation::Sweep, &RefreshKeyInUse { id, now }).await
    }

    async fn end_sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        self.timed(StoreOperation::Sweep, &EndSweep(now)).await
    }
}

#[async_trait]
impl KeyRepo for PgStore {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.timed(StoreOperation::Keys, &ListKeys).await
    }

    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError> {
        self.timed(StoreOperation::Keys, &AddKey(record)).await
    }

    async fn activate_key(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.timed(StoreOperation::Keys, &ActivateKey { key_use, id, at }).await
    }

    async fn remove_key(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, StoreError> {
        self.timed(StoreOperation::Keys, &RemoveKey { key_use, id }).await
    }
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
