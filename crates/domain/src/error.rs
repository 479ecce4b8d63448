//! Why tokens were not issued, or not accepted.

use crate::model::RevokeReason;
use crate::ports::{
    CookieTooLarge, ProviderError, RoleLookupError, SealError, SigningError, StoreError,
    VerifyError,
};

/// A field of a request that breaks a rule; never holds the field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: String,
    /// The rule it breaks.
    pub message: String,
}

impl FieldError {
    /// A broken rule of one field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why a request about a session was refused. `Display` is for the log; what a client
/// may know is decided where errors become HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request breaks a rule that the provider's configuration adds.
    #[error("the request is not valid: {}", .0.iter().map(|e| format!("{} {}", e.field, e.message)).collect::<Vec<_>>().join("; "))]
    InvalidRequest(Vec<FieldError>),
    /// No such provider is configured.
    #[error("the request names a provider that is not configured")]
    UnknownProvider,
    /// The redirect URI is none of the provider's.
    #[error("the redirect URI is not one of the provider's configured URIs")]
    RedirectUriNotAllowed,
    /// The code was refused, here or at the provider.
    #[error("the authorization code is refused: {0}")]
    InvalidAuthCode(String),
    /// The ID token was refused.
    #[error("the ID token is refused: {0}")]
    InvalidIdToken(String),
    /// The authorization response belongs to another provider or sign-in (RFC 9207).
    #[error("the authorization response is refused: {0}")]
    InvalidState(String),
    /// Who this is, is known; they may not come in.
    #[error("access denied: {0}")]
    AccessDenied(String),
    /// The access token is none of ours, or has expired.
    #[error("the access token is refused: {0}")]
    InvalidAccessToken(String),
    /// The refresh token is none of ours, or of no session there is.
    #[error("the refresh token is refused: {0}")]
    InvalidRefreshToken(String),
    /// The refresh token is ours, and its session never had it.
    #[error("the refresh token is newer than its session: has the store been set back?")]
    RefreshTokenAhead,
    /// The refresh token has expired, or its session has.
    #[error("the refresh token has expired")]
    RefreshTokenExpired,
    /// The refresh token had been superseded; its session is revoked now.
    #[error("a superseded refresh token was used; its session is revoked")]
    RefreshTokenReused,
    /// The session has ended.
    #[error("the session has ended: {}", .0.name())]
    SessionRevoked(RevokeReason),
    /// The caller has no such session.
    #[error("the caller has no such session")]
    NoSuchSession,
    /// The identity is another user's.
    #[error("the identity is linked to another user")]
    IdentityTaken,
    /// It is the only identity the caller has.
    #[error("the caller has no other identity to sign in with")]
    LastIdentity,
    /// The caller has no such identity.
    #[error("the caller has no such identity")]
    NoSuchIdentity,
    /// The logout token was refused, or came before.
    #[error("the logout token is refused: {0}")]
    InvalidLogoutToken(String),
    /// The roles could not be decided.
    #[error("{0}")]
    RolesUnavailable(RoleLookupError),
    /// A provider's refresh token could not be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The idempotency key came before, with another body.
    #[error("the idempotency key has been used with another body")]
    IdempotencyKeyReused,
    /// Our own tokens could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Our own token does not fit into a cookie.
    #[error("{source}; the largest claim is {claim} with about {claim_bytes} bytes")]
    TokenTooLarge {
        /// Which cookie, and how large it would be.
        source: CookieTooLarge,
        /// The claim that takes most room.
        claim: String,
        /// Its approximate length.
        claim_bytes: usize,
    },
    /// The provider gave no proper answer.
    #[error("{0}")]
    Provider(ProviderError),
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthError {
    /// The machine-readable code, stable for ever.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "INVALID_REQUEST",
            Self::UnknownProvider => "UNKNOWN_PROVIDER",
            Self::RedirectUriNotAllowed => "REDIRECT_URI_NOT_ALLOWED",
            Self::InvalidAuthCode(_) | Self::Provider(ProviderError::CodeRefused(_)) => {
                "INVALID_AUTH_CODE"
            }
            Self::InvalidIdToken(_) | Self::Provider(ProviderError::IdTokenRefused(_)) => {
                "INVALID_ID_TOKEN"
            }
            Self::InvalidState(_) => "INVALID_STATE",
            Self::AccessDenied(_) => "ACCESS_DENIED",
            Self::InvalidAccessToken(_) => "INVALID_ACCESS_TOKEN",
            Self::InvalidRefreshToken(_) | Self::RefreshTokenAhead => "INVALID_REFRESH_TOKEN",
            Self::RefreshTokenExpired => "REFRESH_TOKEN_EXPIRED",
            Self::RefreshTokenReused => "REFRESH_TOKEN_REUSED",
            Self::SessionRevoked(_) | Self::Provider(ProviderError::RefreshRefused(_)) => {
                "SESSION_REVOKED"
            }
            Self::NoSuchSession | Self::NoSuchIdentity => "NOT_FOUND",
            Self::IdentityTaken => "IDENTITY_TAKEN",
            Self::LastIdentity => "LAST_IDENTITY",
            Self::InvalidLogoutToken(_) | Self::Provider(ProviderError::LogoutTokenRefused(_)) => {
                "INVALID_LOGOUT_TOKEN"
            }
            Self::RolesUnavailable(_) => "ROLES_UNAVAILABLE",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::Signing(SigningError::Failed(_)) => "TOKEN_GENERATION_FAILED",
            Self::TokenTooLarge { .. } => "TOKEN_TOO_LARGE",
            Self::Provider(ProviderError::Misbehaved(_)) => "PROVIDER_ERROR",
            Self::Provider(ProviderError::Unreachable(_)) => "PROVIDER_UNAVAILABLE",
            Self::Provider(ProviderError::TimedOut(_)) => "PROVIDER_TIMEOUT",
            Self::Store(StoreError::Unavailable(_) | StoreError::SchemaMismatch(_))
            | Self::Signing(SigningError::KeysUnavailable(_)) => "STORE_UNAVAILABLE",
            Self::Store(StoreError::Corrupt(_)) | Self::Seal(_) => "INTERNAL_ERROR",
        }
    }
}

impl AuthError {
    /// Whether an operator should look into it: a token was stolen, or the store was set back.
    pub fn is_alarming(&self) -> bool {
        matches!(self, Self::RefreshTokenReused | Self::RefreshTokenAhead)
    }
}

impl VerifyError {
    /// As the refusal of a kind of token, or as what keeps us from telling.
    pub(crate) fn into_auth(self, refusal: fn(String) -> AuthError) -> AuthError {
        match self {
            Self::Refused(reason) => refusal(reason),
            Self::KeysUnavailable(reason) => SigningError::KeysUnavailable(reason).into(),
        }
    }
}
