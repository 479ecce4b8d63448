//! Who is known, and by which identities.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    ExternalIdentity, LinkedIdentity, NewIdentity, RevokeReason, SessionId, SingleUse, Timestamp,
    User, UserId,
};

/// What became of linking an identity to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It is this user's from now on, durably.
    Linked,
    /// It was this user's before; the single-use mark is stored.
    LinkedBefore,
    /// It is another user's; nothing was stored.
    Taken,
    /// The sign-in has been used before; nothing was stored.
    Replayed,
    /// The user is disabled or gone; nothing was stored.
    UserDisabled,
}

/// What became of taking an identity away from a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlinkOutcome {
    /// It is gone, durably, and so many sessions that were signed in with it have ended.
    Unlinked {
        /// How many sessions.
        ended: u64,
    },
    /// It is the only one the user has; nothing was changed.
    Last,
    /// The user has no such identity; nothing was changed.
    Unknown,
}

/// Looks users up, and keeps the identities they are known by.
///
/// Issuer and subject MUST be compared byte for byte. Every method returns
/// [`StoreError::Unavailable`] when the store cannot be asked, or did not say what became of it.
#[async_trait]
pub trait UserDirectory: Send + Sync {
    /// The user with this external identity, disabled or not.
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<User>, StoreError>;

    /// The identities of a user, the oldest first.
    async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError>;

    /// Links an identity to a user: all or nothing, durable when it returns. Of several users who
    /// link the same identity at once, one MUST get it.
    async fn link_identity(
        &self,
        user: UserId,
        identity: &NewIdentity,
        single_use: Option<SingleUse>,
    ) -> Result<LinkOutcome, StoreError>;

    /// Takes an identity away from a user, never the last one however many calls are made at once,
    /// and ends the live sessions that were opened with it, for `reason`, all but `keep`.
    async fn unlink_identity(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<UnlinkOutcome, StoreError>;
}
