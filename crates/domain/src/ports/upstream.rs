//! The providers' refresh tokens, where the operator has them asked again.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Role, SealedToken, SessionId, Timestamp};
use crate::{Cause, ProviderRefreshToken};

/// A provider's refresh token could not be encrypted or decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a provider's refresh token could not be encrypted or decrypted")]
pub struct SealError(#[source] pub Cause);

/// Encrypts the providers' refresh tokens, each for its session: moved to another, it MUST NOT open.
pub trait TokenSeal: Send + Sync {
    /// Encrypts a token with authenticated encryption; the same token gives another text each time.
    ///
    /// # Errors
    /// If the cryptography fails.
    fn seal(
        &self,
        session: SessionId,
        token: &ProviderRefreshToken,
    ) -> Result<SealedToken, SealError>;

    /// Decrypts what was sealed for this session.
    ///
    /// # Errors
    /// If it was not sealed for this session, or under another key.
    fn open(
        &self,
        session: SessionId,
        sealed: &SealedToken,
    ) -> Result<ProviderRefreshToken, SealError>;
}

/// A provider's answer when it was asked again about a session, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRenewal {
    /// The provider's new refresh token, encrypted, if it gave one.
    pub token: Option<SealedToken>,
    /// The roles that follow from the provider's claims now; `None` if it sent no claims.
    pub claimed_roles: Option<Vec<Role>>,
    /// The time at which the provider was asked.
    pub at: Timestamp,
}

/// Keeps the sealed refresh tokens of sessions, opened together with them
/// ([`SessionOpening::upstream`](crate::model::SessionOpening)), gone with them.
#[async_trait]
pub trait UpstreamTokenRepo: Send + Sync {
    /// The token of a session whose provider was last asked at `due` or before, for one caller alone:
    /// who gets it has it until `lease`, and nobody else does unless that passes. `None` if there is
    /// none, or nothing is due, or another is asking.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn claim_upstream(
        &self,
        session: SessionId,
        due: Timestamp,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<SealedToken>, StoreError>;

    /// Notes what came of it, durably, and ends the claim: the new token, the session's
    /// [`claimed_roles`](crate::model::Session::claimed_roles), and when the provider was asked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError>;
}
