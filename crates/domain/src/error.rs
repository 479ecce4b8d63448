//! Why tokens were not issued, or not accepted.

use crate::model::RevokeReason;
use crate::ports::{
    CookieTooLarge, ProviderError, RoleLookupError, SealError, SigningError, StoreError,
    VerifyError,
};
use crate::{Cause, FieldError};

/// Why a use case refused a request, or could not carry it out.
///
/// `Display` and the chain of sources are for the log; what a client is told is decided where errors
/// become HTTP, by [`code`](AuthError::code).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request breaks a rule that the configuration adds.
    #[error("the request is not valid: {}", join(.0))]
    InvalidRequest(Vec<FieldError>),
    /// No provider of this name is configured.
    #[error("the request names a provider that is not configured")]
    UnknownProvider(#[source] Cause),
    /// The redirect URI is not one of the provider's configured URIs.
    #[error("the redirect URI is not one of the provider's configured URIs")]
    RedirectUriNotAllowed(#[source] Cause),
    /// The page to return to is not one of the pages that the configuration allows.
    #[error("the page to return to is not allowed")]
    ReturnToNotAllowed(#[source] Cause),
    /// Mintgate refused the authorization code without asking the provider, for example because it
    /// was used before.
    #[error("the authorization code is refused")]
    InvalidAuthCode(#[source] Cause),
    /// Mintgate refused the ID token although the provider's adapter accepted it, for example
    /// because it was posted before.
    #[error("the ID token is refused")]
    InvalidIdToken(#[source] Cause),
    /// The authorization response belongs to another provider or login (RFC 9207 §2.4).
    #[error("the authorization response is refused")]
    InvalidState(#[source] Cause),
    /// The person, or the provider, ended the login before the person had signed in.
    #[error("the login was given up at the provider")]
    LoginCancelled(#[source] Cause),
    /// The browser came back from the provider after the login had expired.
    #[error("the login has expired")]
    LoginExpired,
    /// The provider has authenticated the user, but Mintgate does not admit the user.
    #[error("access denied")]
    AccessDenied(#[source] Cause),
    /// The access token was not issued by Mintgate, or has expired.
    #[error("the access token is refused")]
    InvalidAccessToken(#[source] Cause),
    /// The refresh token was not issued by Mintgate, or its session does not exist.
    #[error("the refresh token is refused")]
    InvalidRefreshToken(#[source] Cause),
    /// The refresh token is genuine and newer than its session's row.
    #[error(
        "the refresh token is newer than its session, so the store was set back; if a backup was restored, \
         run `mintgate restore-done`"
    )]
    RefreshTokenAhead,
    /// The refresh token has expired, or its session has.
    #[error("the refresh token has expired")]
    RefreshTokenExpired,
    /// A superseded refresh token was used; its session is revoked now.
    #[error("a superseded refresh token was used; its session is revoked")]
    RefreshTokenReused,
    /// The session was refreshed too often.
    #[error("the session was refreshed too often")]
    RefreshedTooOften {
        /// How long to wait before the next refresh.
        wait: std::time::Duration,
    },
    /// The session has ended.
    #[error("the session has ended: {}", .0.name())]
    SessionRevoked(RevokeReason),
    /// The caller has no session of this id.
    #[error("the caller has no such session")]
    NoSuchSession,
    /// The session has no token of its provider that works, and cannot get one.
    #[error("the session has no usable token of its provider")]
    NoProviderToken,
    /// The identity is linked to another user.
    #[error("the identity is linked to another user")]
    IdentityTaken,
    /// The identity is the only one the caller has.
    #[error("the caller has no other identity to sign in with")]
    LastIdentity,
    /// The caller has no such identity.
    #[error("the caller has no such identity")]
    NoSuchIdentity,
    /// The log of revocations has no such place.
    #[error("the log of revocations has no such place; it begins anew after a restored backup")]
    NoSuchPlace,
    /// Mintgate itself refused the logout token, for example because it was used before.
    #[error("the logout token is refused")]
    InvalidLogoutToken(#[source] Cause),
    /// The roles could not be looked up.
    #[error(transparent)]
    RolesUnavailable(RoleLookupError),
    /// A provider's token could not be encrypted or decrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The idempotency key was used before, with another body.
    #[error("the idempotency key has been used with another body")]
    IdempotencyKeyReused,
    /// A request with the same idempotency key is being answered by another replica. Ask again.
    #[error("another replica is answering a request with the same idempotency key")]
    SignInUnderWay,
    /// An access or refresh token could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// An access or refresh token does not fit into a cookie.
    #[error(
        "a token does not fit into its cookie; the largest claim is {claim} with about {claim_bytes} bytes"
    )]
    TokenTooLarge {
        /// The name of the cookie that would be too large, and its length.
        source: CookieTooLarge,
        /// The name of the claim that takes most room in the token.
        claim: String,
        /// The claim's approximate length in bytes.
        claim_bytes: usize,
    },
    /// The provider refused, or gave no usable answer.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The store failed; see [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A machine-readable error code of the API. Codes are stable: once published, a code keeps its
/// meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A field of the request is missing or breaks a rule.
    InvalidRequest,
    /// The request names a provider that is not configured.
    UnknownProvider,
    /// The redirect URI is not one of those configured for the provider.
    RedirectUriNotAllowed,
    /// The page to return to is not one that the configuration allows.
    ReturnToNotAllowed,
    /// The authorization code is invalid, used or expired.
    InvalidAuthCode,
    /// The ID token is invalid or expired.
    InvalidIdToken,
    /// The authorization response belongs to another login.
    InvalidState,
    /// The login was given up at the provider.
    LoginCancelled,
    /// The login took longer than it may.
    LoginExpired,
    /// The user is authenticated, but is disabled, not on the list, or without a role.
    AccessDenied,
    /// The access token is invalid or expired.
    InvalidAccessToken,
    /// The refresh token is missing, not one of ours, or its session does not exist.
    InvalidRefreshToken,
    /// The refresh token, or its session, has expired.
    RefreshTokenExpired,
    /// The refresh token was superseded before it was used.
    RefreshTokenReused,
    /// The session has ended.
    SessionRevoked,
    /// The caller has no such session or identity.
    NotFound,
    /// The session has no token of its provider that works.
    NoProviderToken,
    /// The identity belongs to another user.
    IdentityTaken,
    /// The identity is the caller's only one.
    LastIdentity,
    /// The cursor is not one of this log of revocations: to be read from the beginning.
    StartAgain,
    /// The logout token is invalid, expired or used.
    InvalidLogoutToken,
    /// The roles could not be looked up.
    RolesUnavailable,
    /// The idempotency key was used with another body.
    IdempotencyKeyReused,
    /// The caller or the session has exceeded a rate limit.
    RateLimited,
    /// A token could not be signed.
    TokenGenerationFailed,
    /// A token does not fit into a cookie.
    TokenTooLarge,
    /// The provider's answer cannot be used.
    ProviderError,
    /// The provider cannot be reached.
    ProviderUnavailable,
    /// The provider did not answer in time.
    ProviderTimeout,
    /// The store, or the signing keys in it, cannot be reached.
    StoreUnavailable,
    /// Too many requests are in progress, or wait for each other.
    Overloaded,
    /// A fault in Mintgate; the client cannot do anything about it.
    InternalError,
}

impl ErrorCode {
    /// The code as it is sent and counted.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::UnknownProvider => "UNKNOWN_PROVIDER",
            Self::RedirectUriNotAllowed => "REDIRECT_URI_NOT_ALLOWED",
            Self::ReturnToNotAllowed => "RETURN_TO_NOT_ALLOWED",
            Self::InvalidAuthCode => "INVALID_AUTH_CODE",
            Self::InvalidIdToken => "INVALID_ID_TOKEN",
            Self::InvalidState => "INVALID_STATE",
            Self::LoginCancelled => "LOGIN_CANCELLED",
            Self::LoginExpired => "LOGIN_EXPIRED",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::InvalidAccessToken => "INVALID_ACCESS_TOKEN",
            Self::InvalidRefreshToken => "INVALID_REFRESH_TOKEN",
            Self::RefreshTokenExpired => "REFRESH_TOKEN_EXPIRED",
            Self::RefreshTokenReused => "REFRESH_TOKEN_REUSED",
            Self::SessionRevoked => "SESSION_REVOKED",
            Self::NotFound => "NOT_FOUND",
            Self::NoProviderToken => "NO_PROVIDER_TOKEN",
            Self::IdentityTaken => "IDENTITY_TAKEN",
            Self::LastIdentity => "LAST_IDENTITY",
            Self::StartAgain => "START_AGAIN",
            Self::InvalidLogoutToken => "INVALID_LOGOUT_TOKEN",
            Self::RolesUnavailable => "ROLES_UNAVAILABLE",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::RateLimited => "RATE_LIMITED",
            Self::TokenGenerationFailed => "TOKEN_GENERATION_FAILED",
            Self::TokenTooLarge => "TOKEN_TOO_LARGE",
            Self::ProviderError => "PROVIDER_ERROR",
            Self::ProviderUnavailable => "PROVIDER_UNAVAILABLE",
            Self::ProviderTimeout => "PROVIDER_TIMEOUT",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::Overloaded => "OVERLOADED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }
}

impl AuthError {
    /// The code that clients and metrics see.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidRequest(_) => ErrorCode::InvalidRequest,
            Self::UnknownProvider(_) => ErrorCode::UnknownProvider,
            Self::RedirectUriNotAllowed(_) => ErrorCode::RedirectUriNotAllowed,
            Self::ReturnToNotAllowed(_) => ErrorCode::ReturnToNotAllowed,
            Self::InvalidAuthCode(_) => ErrorCode::InvalidAuthCode,
            Self::InvalidIdToken(_) => ErrorCode::InvalidIdToken,
            Self::InvalidState(_) => ErrorCode::InvalidState,
            Self::LoginCancelled(_) => ErrorCode::LoginCancelled,
            Self::LoginExpired => ErrorCode::LoginExpired,
            Self::AccessDenied(_) => ErrorCode::AccessDenied,
            Self::InvalidAccessToken(_) => ErrorCode::InvalidAccessToken,
            Self::InvalidRefreshToken(_) | Self::RefreshTokenAhead => {
                ErrorCode::InvalidRefreshToken
            }
            Self::RefreshTokenExpired => ErrorCode::RefreshTokenExpired,
            Self::RefreshTokenReused => ErrorCode::RefreshTokenReused,
            Self::RefreshedTooOften { .. } => ErrorCode::RateLimited,
            Self::SessionRevoked(_) => ErrorCode::SessionRevoked,
            Self::NoSuchSession | Self::NoSuchIdentity => ErrorCode::NotFound,
            Self::NoProviderToken => ErrorCode::NoProviderToken,
            Self::IdentityTaken => ErrorCode::IdentityTaken,
            Self::LastIdentity => ErrorCode::LastIdentity,
            Self::NoSuchPlace => ErrorCode::StartAgain,
            Self::InvalidLogoutToken(_) => ErrorCode::InvalidLogoutToken,
            Self::RolesUnavailable(_) => ErrorCode::RolesUnavailable,
            Self::IdempotencyKeyReused => ErrorCode::IdempotencyKeyReused,
            Self::SignInUnderWay => ErrorCode::Overloaded,
            Self::TokenTooLarge { .. } => ErrorCode::TokenTooLarge,
            Self::Seal(_) => ErrorCode::InternalError,
            Self::Signing(error) => match error {
                SigningError::Failed(_) => ErrorCode::TokenGenerationFailed,
                SigningError::KeysUnavailable(_) => ErrorCode::StoreUnavailable,
            },
            Self::Provider(error) => match error {
                ProviderError::CodeRefused(_) => ErrorCode::InvalidAuthCode,
                ProviderError::IdTokenRefused(_) => ErrorCode::InvalidIdToken,
                ProviderError::RefreshRefused(_) => ErrorCode::SessionRevoked,
                ProviderError::LogoutTokenRefused(_) => ErrorCode::InvalidLogoutToken,
                ProviderError::Misbehaved(..) => ErrorCode::ProviderError,
                ProviderError::Unreachable(_) | ProviderError::Busy(_) => {
                    ErrorCode::ProviderUnavailable
                }
                ProviderError::TimedOut(_) => ErrorCode::ProviderTimeout,
            },
            Self::Store(error) => match error {
                StoreError::Unavailable(_) | StoreError::SchemaMismatch(_) => {
                    ErrorCode::StoreUnavailable
                }
                StoreError::Corrupt(_) => ErrorCode::InternalError,
            },
        }
    }

    /// Whether an operator should investigate: a token was stolen, or an old backup was restored.
    pub fn is_alarming(&self) -> bool {
        matches!(self, Self::RefreshTokenReused | Self::RefreshTokenAhead)
    }

    /// The refusal of a user whom an operator has disabled.
    pub(crate) fn user_disabled() -> Self {
        Self::AccessDenied("the user is disabled".into())
    }
}

impl VerifyError {
    /// The refusal of one kind of token, or that no keys are loaded to judge it by.
    pub(crate) fn into_auth(self, refusal: fn(Cause) -> AuthError) -> AuthError {
        match self {
            Self::Refused(cause) => refusal(cause),
            Self::KeysUnavailable(cause) => SigningError::KeysUnavailable(cause).into(),
        }
    }
}

fn join(fields: &[FieldError]) -> String {
    fields.iter().map(FieldError::to_string).collect::<Vec<_>>().join("; ")
}
