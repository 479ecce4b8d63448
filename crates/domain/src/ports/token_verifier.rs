//! Verifying access and refresh tokens.

use async_trait::async_trait;

use crate::model::{ProviderId, Role, SessionId, Timestamp, UserId};
use crate::{Cause, PresentedToken};

/// The claims of a genuine access token. The caller judges whether the token has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAccess {
    /// The user, the token's `sub`.
    pub subject: UserId,
    /// The session, the token's `sid`.
    pub session: SessionId,
    /// The provider of the login, the token's `idp`.
    pub provider: ProviderId,
    /// The user's roles, the token's `roles`.
    pub roles: Vec<Role>,
    /// Whom the token is for, the token's `aud`; at least one of them is ours.
    pub audience: Vec<String>,
    /// The token's `client_id`, if it has one.
    pub client_id: Option<String>,
    /// The token's `jti`.
    pub token_id: String,
    /// The time at which the token was issued, its `iat`.
    pub issued_at: Timestamp,
    /// The expiry, the token's `exp`.
    pub expires_at: Timestamp,
}

/// The claims of a genuine refresh token. The caller judges whether the token has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRefresh {
    /// The user, the token's `sub`.
    pub subject: UserId,
    /// The session, the token's `sid`.
    pub session: SessionId,
    /// The number of rotations before this token, the token's `gen`.
    pub generation: u64,
    /// The time at which the token was issued, its `iat`.
    pub issued_at: Timestamp,
    /// The expiry, the token's `exp`.
    pub expires_at: Timestamp,
}

/// The reason why a token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The token is not one of this kind that Mintgate signed with a key it still has.
    #[error("the token is refused")]
    Refused(#[source] Cause),
    /// Whether the token is genuine is unknown, because no keys have been loaded yet.
    #[error("the signing keys are not loaded")]
    KeysUnavailable(#[source] Cause),
}

/// Verifies tokens that Mintgate has signed, and refuses all others.
///
/// An adapter MUST check the signature with the key of the token's `kid` and that key's algorithm only,
/// then `typ`, `iss`, the `aud` of an access token, and the form of the claims. It MUST NOT accept an
/// access token as a refresh token or the other way round (RFC 9068 §4, RFC 8725 §3.11). It MUST NOT
/// read the store for a token whose key it has; for an unknown `kid`, which may be a new key's, it reads
/// the store once for all callers that wait.
///
/// ```
/// use async_trait::async_trait;
/// use mintgate_domain::PresentedToken;
/// use mintgate_domain::model::{SessionId, Timestamp, UserId};
/// use mintgate_domain::ports::{TokenVerifier, VerifiedAccess, VerifiedRefresh, VerifyError};
/// use uuid::Uuid;
///
/// /// Accepts one text as a refresh token.
/// struct OnlyGenuine;
///
/// #[async_trait]
/// impl TokenVerifier for OnlyGenuine {
///     async fn verify_access(&self, _: &PresentedToken) -> Result<VerifiedAccess, VerifyError> {
///         Err(VerifyError::Refused("it is not an access token".into()))
///     }
///
///     async fn verify_refresh(&self, token: &PresentedToken) -> Result<VerifiedRefresh, VerifyError> {
///         if token.expose() != "genuine" {
///             return Err(VerifyError::Refused("its signature is wrong".into()));
///         }
///         Ok(VerifiedRefresh {
///             subject: UserId::from_uuid(Uuid::from_u128(1)),
///             session: SessionId::from_uuid(Uuid::from_u128(2)),
///             generation: 3,
///             issued_at: Timestamp::from_unix(30),
///             expires_at: Timestamp::from_unix(60),
///         })
///     }
/// }
///
/// # futures_util::FutureExt::now_or_never(async {
/// assert_eq!(OnlyGenuine.verify_refresh(&PresentedToken::new("genuine")).await?.generation, 3);
/// let forged = OnlyGenuine.verify_refresh(&PresentedToken::new("forged")).await;
/// assert!(matches!(forged, Err(VerifyError::Refused(_))));
/// # Ok::<(), VerifyError>(())
/// # }).unwrap()?;
/// # Ok::<(), VerifyError>(())
/// ```
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Verifies an access token, whether or not it has expired.
    ///
    /// # Errors
    /// See [`VerifyError`].
    async fn verify_access(&self, token: &PresentedToken) -> Result<VerifiedAccess, VerifyError>;

    /// Verifies a refresh token, whether or not it has expired.
    ///
    /// # Errors
    /// See [`VerifyError`].
    async fn verify_refresh(&self, token: &PresentedToken) -> Result<VerifiedRefresh, VerifyError>;
}
