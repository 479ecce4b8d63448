//! The users, and the identities they are known by.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    ExternalIdentity, LinkedIdentity, NewIdentity, NewUser, Person, Profile, RevokeReason,
    SessionId, SingleUse, Timestamp, UserId,
};

/// The result of linking an identity to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutcome {
    /// The identity is this user's from now on, durably.
    Linked,
    /// The identity was this user's before; the single-use mark is stored.
    LinkedBefore,
    /// The identity is another user's; nothing was stored.
    Taken,
    /// The sign-in has been used before; nothing was stored.
    Replayed,
    /// The user is disabled or does not exist; nothing was stored.
    UserDisabled,
}

/// The result of unlinking an identity from a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlinkOutcome {
    /// The identity has been unlinked, durably, by this call.
    Unlinked {
        /// How many sessions that were signed in with the identity have been ended.
        ended: u64,
    },
    /// The identity is the only one the user has; nothing was changed.
    Last,
    /// The user has no such identity; nothing was changed.
    Unknown,
}

/// Looks users up, and keeps the identities they are known by.
///
/// Issuer and subject MUST be compared byte for byte (OIDC Core §5.7).
///
/// A user and each identity of a user have a *session epoch*, a counter that is raised to end all
/// sessions at once: a session keeps the epochs it was opened with, and has ended when one of them is
/// older than the current one. An identity that is unlinked and linked again MUST NOT get an epoch it
/// has had before.
///
/// The store as a whole has a *restore epoch*, which is raised when a backup was restored, and ends every
/// session that was opened before in the same way.
///
/// Where the sessions are kept in the same engine
/// ([`RefreshTokenRepo::shares_engine_with_users`](super::RefreshTokenRepo::shares_engine_with_users)),
/// the methods that end sessions MUST end them in the same transaction that raises the epoch, so that
/// a refresh under way is serialised by its session's row. Elsewhere they raise the epoch alone and
/// return 0.
///
/// Every method returns [`StoreError::Unavailable`] when the store cannot be asked, or did not say
/// whether the call took effect. Repeating a call after such an error MUST be harmless.
#[async_trait]
pub trait UserDirectory: Send + Sync {
    /// The user with this external identity, disabled or not.
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<Person>, StoreError>;

    /// Creates a user with one identity, durably; if the identity exists by now, returns the user it
    /// belongs to instead. Of several callers with one identity, all get the same user.
    async fn find_or_create(&self, new: &NewUser) -> Result<Person, StoreError>;

    /// The user of this id, with the epoch of one identity.
    async fn find_person(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
    ) -> Result<Option<Person>, StoreError>;

    /// Keeps what a sign-in said about a user, durably, in place of what was kept before. A user that does
    /// not exist is no error.
    ///
    /// Called where the sessions are kept in another engine; where they are in the same,
    /// [`RefreshTokenRepo::open`](super::RefreshTokenRepo::open) keeps it in its atomic step.
    async fn keep_profile(&self, user: UserId, profile: &Profile) -> Result<(), StoreError>;

    /// The identities of a user, the oldest first.
    async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError>;

    /// Links an identity to a user and stores the single-use mark: all or nothing, durable when it
    /// returns. Of several users who link the same identity at once, one MUST get it.
    async fn link_identity(
        &self,
        user: UserId,
        identity: &NewIdentity,
        single_use: Option<SingleUse>,
    ) -> Result<LinkOutcome, StoreError>;

    /// Unlinks an identity from a user, never the last one however many calls are made at once. Ends
    /// the live sessions that were opened with it, for `reason`; the session `keep` goes on, and
    /// loses its identity epoch if it was opened with that identity.
    async fn unlink_identity(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<UnlinkOutcome, StoreError>;

    /// Raises the session epoch of a user, and ends the sessions that are live at `now`; returns how
    /// many were ended.
    async fn end_user_sessions(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Raises the session epoch of an identity, and ends the sessions opened with it that are live at
    /// `now`; returns how many were ended. An identity that nobody has is no error.
    async fn end_identity_sessions(
        &self,
        identity: &ExternalIdentity,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Raises the restore epoch, durably, and returns it: `now` in seconds since 1970, or one more than
    /// before if that is larger. So an epoch of a part of the past that a restore has undone never comes
    /// again. Leaves the rows of sessions alone in every store
    /// ([`RefreshTokenRepo::end_restored`](super::RefreshTokenRepo::end_restored)).
    async fn raise_restore_epoch(&self, now: Timestamp) -> Result<u64, StoreError>;
}
