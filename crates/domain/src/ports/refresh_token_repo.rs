//! Where sessions, and with them refresh tokens, are kept.

use async_trait::async_trait;

use super::StoreError;
use crate::model::SessionOpening;

/// What became of opening a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenOutcome {
    /// All of it is stored, durably.
    Opened,
    /// Somebody with the same external identity was created in the meantime; nothing was
    /// stored. Look the user up again.
    IdentityTaken,
    /// The ID token has opened a session before; nothing was stored.
    IdTokenReplayed,
    /// The user is disabled or gone; nothing was stored.
    UserDisabled,
}

/// The store of refresh tokens: one row a session, hashes only.
#[async_trait]
pub trait RefreshTokenRepo: Send + Sync {
    /// Stores a new session together with its user, identity and single-use mark where these are
    /// new: all or nothing, durable when it returns [`OpenOutcome::Opened`].
    ///
    /// The database MUST decide races (unique indexes, conditional statements). Repeating a call
    /// with the same session id after an error whose outcome is unknown MUST be harmless.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the outcome is unknown or the store cannot be reached.
    async fn open_session(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError>;
}
