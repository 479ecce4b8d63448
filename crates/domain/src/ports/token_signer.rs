//! Signing of our own tokens.

use crate::model::{AccessClaims, KeyId, RefreshClaims};
use crate::{Cause, SignedToken};

/// A token could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The key does not exist, or the signature could not be computed.
    #[error("a token could not be signed")]
    Failed(#[source] Cause),
    /// No keys have been loaded yet.
    #[error("the signing keys are not loaded")]
    KeysUnavailable(#[source] Cause),
}

/// Mints signed tokens; holds the keys.
///
/// Access and refresh tokens MUST be signed with different keys and carry
/// different `typ` headers (`at+jwt`, `rt+jwt`), so that neither passes for the other.
pub trait TokenSigner: Send + Sync {
    /// Signs an access token (RFC 9068).
    fn sign_access(&self, claims: &AccessClaims<'_>) -> Result<SignedToken, SigningError>;

    /// The key that new refresh tokens are signed with.
    fn refresh_key_id(&self) -> Result<KeyId, SigningError>;

    /// Signs a refresh token with the key the claims name.
    ///
    /// MUST be deterministic: equal claims give equal bytes, on every replica, at any time.
    ///
    /// # Errors
    /// If the key is not known (any more).
    fn sign_refresh(&self, claims: &RefreshClaims<'_>) -> Result<SignedToken, SigningError>;
}
