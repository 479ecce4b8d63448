//! Verification of our own tokens.

use async_trait::async_trait;

use crate::model::{ProviderId, Role, SessionId, Timestamp, UserId};
use crate::{Cause, PresentedToken};

/// What a genuine access token says. Whether it has expired is for the caller to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAccess {
    /// `sub`
    pub subject: UserId,
    /// `sid`
    pub session: SessionId,
    /// `idp`
    pub provider: ProviderId,
    /// `roles`
    pub roles: Vec<Role>,
    /// `exp`
    pub expires_at: Timestamp,
}

/// What a genuine refresh token says. Whether it has expired is for the caller to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRefresh {
    /// `sub`
    pub subject: UserId,
    /// `sid`
    pub session: SessionId,
    /// `gen`
    pub generation: u64,
    /// `exp`
    pub expires_at: Timestamp,
}

/// A token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The token is not one of this kind that Mintgate signed with a key it still has.
    #[error("the token is refused")]
    Refused(#[source] Cause),
    /// Whether the token is genuine is unknown, because no keys have been loaded yet.
    #[error("the signing keys are not loaded")]
    KeysUnavailable(#[source] Cause),
}

/// Tells our own tokens from everything else: by signature, with the algorithm of the key its `kid`
/// names and no other, then `typ`, `iss` and (of an access token) `aud`, then the claims' shape.
///
/// MUST NOT accept an access token as a refresh token or the other way round (RFC 9068 §4, RFC 8725
/// §3.11), and MUST NOT reach the store for a token whose key it has. A `kid` it does not know may be
/// new: it looks once whether there is such a key by now, however many ask at once.
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Verifies an access token; expired or not.
    async fn verify_access(&self, token: &PresentedToken) -> Result<VerifiedAccess, VerifyError>;

    /// Verifies a refresh token; expired or not.
    async fn verify_refresh(&self, token: &PresentedToken) -> Result<VerifiedRefresh, VerifyError>;
}
