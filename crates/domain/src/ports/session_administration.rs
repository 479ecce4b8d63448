//! What operators see of sessions.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{DeletedSession, Session, SessionId, Timestamp, UserId};

/// Lists sessions, ended ones included, and keeps the ids of those that were deleted with their user.
///
/// Every method returns [`StoreError::Unavailable`] when the store cannot be asked, or did not say
/// whether the call took effect. Repeating a call after such an error MUST be harmless.
#[async_trait]
pub trait SessionAdministration: Send + Sync {
    /// The sessions of a user with ids below `before`, the highest id first, which is the one opened
    /// last; at most `limit`.
    async fn user_sessions(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError>;

    /// What is known of a session that was deleted with its user; `None` if its access tokens have
    /// expired and the clean-up has forgotten it, or if it was not.
    async fn deleted_session(&self, id: SessionId) -> Result<Option<DeletedSession>, StoreError>;

    /// Deletes the sessions of a user, and keeps ids as
    /// [`UserAdministration::delete_user`](super::UserAdministration::delete_user) says; returns how many
    /// were live.
    ///
    /// Called where users are kept in another engine, before the user is deleted there. A store that
    /// shares its engine with the users is never asked, and keeps the default, which is an error.
    async fn delete_sessions(
        &self,
        _user: UserId,
        _now: Timestamp,
        _forget_after: Timestamp,
    ) -> Result<u64, StoreError> {
        Err(StoreError::Unavailable("this store deletes sessions together with their users".into()))
    }
}
