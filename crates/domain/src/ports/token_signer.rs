//! Signing of our own tokens.

use crate::SignedToken;
use crate::model::{AccessClaims, KeyId, RefreshClaims};

/// A token could not be signed. The text is for the log and holds no key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// There is no such key, or signing itself went wrong.
    #[error("cannot sign a token: {0}")]
    Failed(String),
    /// No keys have been loaded yet.
    #[error("the signing keys are not loaded: {0}")]
    KeysUnavailable(String),
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
