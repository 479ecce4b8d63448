//! Where sessions, and with them refresh tokens, are kept.

use async_trait::async_trait;

use super::StoreError;
use crate::TokenHash;
use crate::model::{
    IdempotencyKey, RevokeReason, Rotation, Session, SessionId, SessionOpening, Timestamp, User,
    UserId,
};
use crate::ports::LogoutOrder;

/// What became of opening a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenOutcome {
    /// All of it is stored, durably.
    Opened,
    /// Somebody with the same external identity was created in the meantime, or an existing user is
    /// not known by it any more; nothing was stored. Look the user up again.
    IdentityTaken,
    /// The sign-in has been used before; nothing was stored.
    Replayed,
    /// A request with the same idempotency key has opened a session, and the key has not expired;
    /// nothing was stored. [`find_opening`](RefreshTokenRepo::find_opening) says which.
    IdempotencyKeyTaken,
    /// The user is disabled or gone; nothing was stored.
    UserDisabled,
}

/// What became of a refresh. The boxed session is as it is now.
#[derive(Debug, Clone, PartialEq)]
pub enum RotateOutcome {
    /// The successor is the current token now, durably.
    Rotated(Box<Session>),
    /// The presented token is the one before the current one: answer with the current one, minted
    /// again.
    Replayed(Box<Session>),
    /// The successor does not fit this session; nothing was written. Make one that does, and call again.
    Remint(Box<Session>),
    /// The presented token was superseded; the session has been revoked, durably, by this call.
    Reused,
    /// The user is disabled; the session has been revoked, durably, by this call.
    UserDisabled,
    /// The session had ended before; nothing was written.
    Revoked(RevokeReason),
    /// The session is past a limit; nothing was written.
    Expired,
    /// The token is none this session has had so far: the store has been set back. Nothing was written.
    Ahead,
    /// There is no such session, or it is another user's; nothing was written.
    Unknown,
}

/// What became of ending a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOutcome {
    /// It has been ended, durably, by this call.
    Ended,
    /// It had ended before; when and why stays as it was.
    EndedBefore,
    /// There is no such session, or it is another user's; nothing was written.
    Unknown,
}

/// What became of a provider's logout order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderLogoutOutcome {
    /// So many live sessions have been ended, durably, by this call.
    Ended(u64),
    /// The order has been carried out before; nothing was written.
    Replayed,
}

/// The store of refresh tokens: one row a session, hashes only.
///
/// Writes to one session MUST be serialised by the store: once a call that ends a session has
/// returned, no rotation of it succeeds. Repeating any call after an error whose outcome is unknown
/// MUST be harmless.
///
/// Every method returns [`StoreError::Unavailable`] when the outcome is unknown or the store cannot
/// be reached; never an outcome it is not sure of.
#[async_trait]
pub trait RefreshTokenRepo: Send + Sync {
    /// Stores a new session together with its user, identity, single-use mark and idempotency
    /// record where these are new: all or nothing, durable when it returns [`OpenOutcome::Opened`].
    ///
    /// The database MUST decide races (unique indexes, conditional statements).
    async fn open_session(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError>;

    /// The session that a request with this idempotency key has opened, if the key has not expired
    /// at `now`, together with the request it was.
    async fn find_opening(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, Session)>, StoreError>;

    /// Exchanges the presented token for its successor, or says why not, as
    /// [`Rotation::judge`](crate::model::Rotation::judge) decides, in one atomic step.
    ///
    /// In the normal case one conditional update by primary key that touches no indexed column; one
    /// statement more only if that matched nothing. The window of [`ReplayRule`](crate::model::ReplayRule)
    /// MUST be measured by one clock for all replicas: the store's own, where it has one.
    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError>;

    /// The session of this id, ended or not.
    async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// The session of this id, ended or not, with the user it is of.
    async fn find_session_and_user(
        &self,
        id: SessionId,
    ) -> Result<Option<(Session, User)>, StoreError>;

    /// The sessions of a user that are live at `now`, the last used first; at most `limit`.
    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError>;

    /// Ends a session of this user.
    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError>;

    /// Ends all sessions of a user that are live at `now`; how many.
    async fn end_user_sessions(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Ends the sessions, live at `now`, that a provider's order is about, for
    /// [`RevokeReason::ProviderLogout`], and marks the order as used: all or nothing. The sessions of
    /// the subject are those opened with that identity; where the order names both, of those only the
    /// ones of that session at the provider, and the ones whose session there was never named.
    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError>;
}
