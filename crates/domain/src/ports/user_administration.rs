//! What operators do with people.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Account, Role, SearchText, Timestamp, UserId};

/// The result of an operator's change of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserChange {
    /// The user is as wanted from now on, durably, by this call.
    Changed,
    /// The user was as wanted before.
    AsBefore,
    /// There is no such user; nothing was changed.
    Unknown,
}

/// The store of users, as operators use it: searches and changes.
///
/// Where the sessions are kept in the same engine
/// ([`RefreshTokenRepo::shares_engine_with_users`](super::RefreshTokenRepo::shares_engine_with_users)),
/// [`disable_user`](Self::disable_user) and [`delete_user`](Self::delete_user) MUST end the sessions in
/// the same transaction, so that a refresh under way is serialised by its session's row and a sign-in
/// under way by the user's. Elsewhere they leave the sessions alone and return 0.
///
/// Every method returns [`StoreError::Unavailable`] when the store cannot be asked, or did not say
/// whether the call took effect. Repeating a call after such an error MUST be harmless.
#[async_trait]
pub trait UserAdministration: Send + Sync {
    /// The users behind `after`, in the order of their ids, at most `limit`; those alone of whom a text
    /// is searched for with success, if there is a `search`: the profile
    /// ([`Profile::searched`](crate::model::Profile::searched)) as it was last kept, or the subject of an
    /// identity or a former id, whose ASCII letters are taken as small ones.
    ///
    /// A search reads everything, so it MUST have a connection of its own, and end with
    /// [`StoreError::Unavailable`] after a few seconds.
    async fn find_accounts(
        &self,
        search: Option<&SearchText>,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError>;

    /// The user of this id, with all identities.
    async fn account(&self, user: UserId) -> Result<Option<Account>, StoreError>;

    /// Disables a user, raises the session epoch, and ends the sessions that are live at `now` for
    /// [`RevokeReason::UserDisabled`](crate::model::RevokeReason::UserDisabled); returns how many were
    /// ended. A user who was disabled before keeps that time.
    async fn disable_user(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<(UserChange, u64), StoreError>;

    /// Lets a disabled user sign in again. Sessions that have ended stay so.
    async fn enable_user(&self, user: UserId) -> Result<UserChange, StoreError>;

    /// Adds a role to those that the user is granted in the store.
    async fn grant_role(&self, user: UserId, role: &Role) -> Result<UserChange, StoreError>;

    /// Takes a role away from those that the user is granted in the store.
    async fn revoke_role(&self, user: UserId, role: &Role) -> Result<UserChange, StoreError>;

    /// Deletes a user with everything that is stored about them; returns how many live sessions that
    /// ended. Of sessions that still have valid access tokens, which expire before `forget_after`, the
    /// ids MUST stay ([`SessionAdministration::deleted_session`](super::SessionAdministration)): those
    /// that are live at `now`, or ended at most as long before `now` as `forget_after` is behind it.
    async fn delete_user(
        &self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> Result<(UserChange, u64), StoreError>;
}
