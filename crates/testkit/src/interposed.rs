//! A session store that stands before another one and changes some calls on the way.

use async_trait::async_trait;
use mintgate_domain::model::{
    ExternalIdentity, RevokeReason, Rotation, Session, SessionEnd, SessionId, SessionOpening,
    Timestamp, UserId,
};
use mintgate_domain::ports::{
    EndOutcome, EndedStep, LoadedSession, LogoutOrder, OpenOutcome, ProviderLogoutOutcome,
    RefreshTokenRepo, SessionChange, StoreError,
};

/// The calls that may be changed; by default each is passed on.
#[async_trait]
pub trait Interposed: Send + Sync {
    /// The store that calls are passed on to.
    fn store(&self) -> &dyn RefreshTokenRepo;

    /// As [`RefreshTokenRepo::open`].
    async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        self.store().open(opening).await
    }

    /// As [`RefreshTokenRepo::load`].
    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        self.store().load(id).await
    }

    /// As [`RefreshTokenRepo::exchange`].
    async fn exchange(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        self.store().exchange(rotation, grant_limit).await
    }

    /// As [`RefreshTokenRepo::replace`].
    async fn replace(
        &self,
        seen: &Session,
        change: SessionChange<'_>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        self.store().replace(seen, change).await
    }

    /// As [`RefreshTokenRepo::end_sessions`].
    async fn end_sessions(
        &self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> Result<u64, StoreError> {
        self.store().end_sessions(user, identity, keep, end).await
    }
}

/// A session store whose calls go through an [`Interposed`].
#[derive(Debug)]
pub struct InterposedRepo<T>(pub T);

#[async_trait]
impl<T: Interposed> RefreshTokenRepo for InterposedRepo<T> {
    fn shares_engine_with_users(&self) -> bool {
        self.0.store().shares_engine_with_users()
    }

    async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        self.0.open(opening).await
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        self.0.load(id).await
    }

    async fn exchange(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        self.0.exchange(rotation, grant_limit).await
    }

    async fn replace(
        &self,
        seen: &Session,
        change: SessionChange<'_>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        self.0.replace(seen, change).await
    }

    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        self.0.store().live_sessions(user, now, limit).await
    }

    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        self.0.store().end_session(id, user, reason, now).await
    }

    async fn end_sessions(
        &self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> Result<u64, StoreError> {
        self.0.end_sessions(user, identity, keep, end).await
    }

    async fn end_restored(
        &self,
        epoch: u64,
        after: Option<SessionId>,
        limit: u32,
        end: SessionEnd,
    ) -> Result<EndedStep, StoreError> {
        self.0.store().end_restored(epoch, after, limit, end).await
    }

    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        self.0.store().end_provider_sessions(order, now).await
    }
}
