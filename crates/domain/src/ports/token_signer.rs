//! Signing access and refresh tokens.

use crate::model::{AccessClaims, KeyId, RefreshClaims};
use crate::{Cause, SignedToken};

/// The reason why a token could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The key does not exist, or the signature could not be computed.
    #[error("a token could not be signed")]
    Failed(#[source] Cause),
    /// No keys have been loaded yet.
    #[error("the signing keys are not loaded")]
    KeysUnavailable(#[source] Cause),
}

/// Signs access and refresh tokens with keys that the adapter holds.
///
/// Access and refresh tokens MUST be signed with different keys and have different `typ` headers
/// (`at+jwt` of RFC 9068 §2.1, and `rt+jwt`), so that neither passes for the other.
///
/// ```
/// use mintgate_domain::SignedToken;
/// use mintgate_domain::model::{AccessClaims, KeyId, RefreshClaims, SessionId, Timestamp, UserId};
/// use mintgate_domain::ports::{SigningError, TokenSigner};
/// use uuid::Uuid;
///
/// /// Writes claims instead of a signature.
/// struct Unsigned;
///
/// impl TokenSigner for Unsigned {
///     fn sign_access(&self, claims: &AccessClaims<'_>) -> Result<SignedToken, SigningError> {
///         Ok(SignedToken::new(format!("at+jwt {}", claims.subject)))
///     }
///
///     fn refresh_key_id(&self) -> Result<KeyId, SigningError> {
///         Ok(KeyId::new("key-1"))
///     }
///
///     fn sign_refresh(&self, claims: &RefreshClaims<'_>) -> Result<SignedToken, SigningError> {
///         if claims.key_id.as_str() != "key-1" {
///             return Err(SigningError::Failed("there is no such key".into()));
///         }
///         Ok(SignedToken::new(format!("rt+jwt {} {}", claims.session, claims.generation)))
///     }
/// }
///
/// let key_id = Unsigned.refresh_key_id()?;
/// let claims = RefreshClaims {
///     subject: UserId::from_uuid(Uuid::from_u128(1)),
///     session: SessionId::from_uuid(Uuid::from_u128(2)),
///     generation: 3,
///     key_id: &key_id,
///     issued_at: Timestamp::from_unix(0),
///     expires_at: Timestamp::from_unix(60),
/// };
/// let token = Unsigned.sign_refresh(&claims)?;
/// assert_eq!(token.expose(), "rt+jwt 00000000-0000-0000-0000-000000000002 3");
/// assert_eq!(Unsigned.sign_refresh(&claims)?, token);
/// # Ok::<(), SigningError>(())
/// ```
pub trait TokenSigner: Send + Sync {
    /// Signs an access token (RFC 9068) with the current access key.
    ///
    /// # Errors
    /// [`SigningError::KeysUnavailable`] before keys have been loaded.
    fn sign_access(&self, claims: &AccessClaims<'_>) -> Result<SignedToken, SigningError>;

    /// The current refresh key, which a new session's refresh tokens are signed with.
    ///
    /// # Errors
    /// [`SigningError::KeysUnavailable`] before keys have been loaded.
    fn refresh_key_id(&self) -> Result<KeyId, SigningError>;

    /// Signs a refresh token with the key that the claims name.
    ///
    /// MUST be deterministic: equal claims give equal bytes on every replica and at any time.
    ///
    /// # Errors
    /// [`SigningError::Failed`] if that key does not exist or was removed, and
    /// [`SigningError::KeysUnavailable`] before keys have been loaded.
    fn sign_refresh(&self, claims: &RefreshClaims<'_>) -> Result<SignedToken, SigningError>;
}
