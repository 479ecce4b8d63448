//! Something between a use case and its session store that passes on whatever it does not change.

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    IdempotencyKey, RevokeReason, Rotation, Session, SessionId, SessionOpening, Timestamp, User,
    UserId,
};
use mintgate_domain::ports::{
    EndOutcome, LogoutOrder, OpenOutcome, ProviderLogoutOutcome, RefreshTokenRepo, RotateOutcome,
    StoreError,
};

/// What may be changed on the way; by default nothing.
#[async_trait]
pub trait Interposed: Send + Sync {
    /// Where calls are passed on to.
    fn store(&self) -> &dyn RefreshTokenRepo;

    /// As [`RefreshTokenRepo::open_session`].
    async fn open_session(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        self.store().open_session(opening).await
    }

    /// As [`RefreshTokenRepo::find_opening`].
    async fn find_opening(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, Session)>, StoreError> {
        self.store().find_opening(key, now).await
    }

    /// As [`RefreshTokenRepo::rotate`].
    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        self.store().rotate(rotation).await
    }
}

/// The session store behind something.
#[derive(Debug)]
pub struct Behind<T>(pub T);

#[async_trait]
impl<T: Interposed> RefreshTokenRepo for Behind<T> {
    async fn open_session(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        self.0.open_session(opening).await
    }

    async fn find_opening(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, Session)>, StoreError> {
        self.0.find_opening(key, now).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        self.0.rotate(rotation).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.0.store().find_session(id).await
    }

    async fn find_session_and_user(
        &self,
        id: SessionId,
    ) -> Result<Option<(Session, User)>, StoreError> {
        self.0.store().find_session_and_user(id).await
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

    async fn end_user_sessions(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.0.store().end_user_sessions(user, reason, now).await
    }

    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        self.0.store().end_provider_sessions(order, now).await
    }
}
