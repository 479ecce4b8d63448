//! Errors become HTTP here and nowhere else.

use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use mintgate_domain::ports::StoreError;
use mintgate_domain::{AuthError, ErrorCode, FieldError, SetCookie, chain};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::RequestId;

/// How long clients are asked to wait when something is down.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// RFC 6750 §3: to a request that shows no token, nothing but what is asked for.
const CHALLENGE: &str = "Bearer realm=\"mintgate\"";
/// And to one whose token is not accepted.
const TOKEN_REFUSED: &str = "Bearer realm=\"mintgate\", error=\"invalid_token\"";

/// A refusal on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    kind: ErrorKind,
    /// For the log: what really happened. Never sent.
    detail: Option<String>,
    fields: Vec<FieldError>,
    /// `Set-Cookie` values that clear what is in the way.
    clear: Vec<SetCookie>,
    /// The methods a path has.
    allow: Option<&'static str>,
    /// Whether a bearer token was shown that is not accepted (RFC 6750 §3.1).
    token_refused: bool,
    /// Whether an operator should look into it.
    alarming: bool,
}

/// One row of the error table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorKind {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The machine-readable code.
    pub(crate) code: &'static str,
    /// What the client is told.
    pub(crate) message: &'static str,
}

macro_rules! error_table {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $message:literal;)*) => {
        impl ErrorKind {
            $($(#[$doc])* pub(crate) const $name: Self = Self {
                status: StatusCode::$status, code: $code, message: $message,
            };)*
            /// Every error a client can see.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

error_table! {
    /// A field is missing or breaks a rule, or the body is no JSON object.
    INVALID_REQUEST = BAD_REQUEST, "INVALID_REQUEST", "The request is not valid.";
    /// No such provider.
    UNKNOWN_PROVIDER = BAD_REQUEST, "UNKNOWN_PROVIDER", "The identity provider is not known.";
    /// Not one of the configured redirect URIs.
    REDIRECT_URI_NOT_ALLOWED = BAD_REQUEST, "REDIRECT_URI_NOT_ALLOWED", "The redirect URI is not allowed for this provider.";
    /// A cookie came twice.
    DUPLICATE_COOKIE = BAD_REQUEST, "DUPLICATE_COOKIE", "A session cookie was sent twice; it has been cleared. Please try again.";
    /// The logout token is none of the provider's, or came before.
    INVALID_LOGOUT_TOKEN = BAD_REQUEST, "INVALID_LOGOUT_TOKEN", "The logout token is invalid, expired, or was used before.";
    /// The provider, or we, refused the code.
    INVALID_AUTH_CODE = UNAUTHORIZED, "INVALID_AUTH_CODE", "The provided authorization code is invalid or expired.";
    /// The ID token is refused.
    INVALID_ID_TOKEN = UNAUTHORIZED, "INVALID_ID_TOKEN", "The ID token is invalid or expired.";
    /// The response belongs to another sign-in.
    INVALID_STATE = UNAUTHORIZED, "INVALID_STATE", "The authorization response does not belong to this sign-in.";
    /// The access token is missing, not one of ours, or expired.
    INVALID_ACCESS_TOKEN = UNAUTHORIZED, "INVALID_ACCESS_TOKEN", "The access token is missing, invalid or expired.";
    /// The refresh token is missing, or not one of ours.
    INVALID_REFRESH_TOKEN = UNAUTHORIZED, "INVALID_REFRESH_TOKEN", "The refresh token is missing or invalid.";
    /// The refresh token has expired, or its session has.
    REFRESH_TOKEN_EXPIRED = UNAUTHORIZED, "REFRESH_TOKEN_EXPIRED", "The refresh token has expired. Please sign in again.";
    /// The refresh token was superseded; its session is revoked.
    REFRESH_TOKEN_REUSED = UNAUTHORIZED, "REFRESH_TOKEN_REUSED", "The refresh token has been used before; its session has been ended. Please sign in again.";
    /// The session has ended.
    SESSION_REVOKED = UNAUTHORIZED, "SESSION_REVOKED", "The session has been ended. Please sign in again.";
    /// Known, and not let in.
    ACCESS_DENIED = FORBIDDEN, "ACCESS_DENIED", "This account has no access.";
    /// A page of another origin asked.
    CSRF_REJECTED = FORBIDDEN, "CSRF_REJECTED", "The request comes from an origin that is not allowed.";
    /// No such path.
    NOT_FOUND = NOT_FOUND, "NOT_FOUND", "There is nothing at this path.";
    /// The path does not have this method; `Allow` says which it has.
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "This path does not support the request's method.";
    /// The client does not accept JSON.
    NOT_ACCEPTABLE = NOT_ACCEPTABLE, "NOT_ACCEPTABLE", "Answers are application/json, which the Accept header rules out.";
    /// The body came too slowly.
    REQUEST_TIMEOUT = REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "The request took too long to arrive.";
    /// The identity is linked to another user.
    IDENTITY_TAKEN = CONFLICT, "IDENTITY_TAKEN", "This identity belongs to another account.";
    /// The identity is the only one.
    LAST_IDENTITY = CONFLICT, "LAST_IDENTITY", "This is the only identity to sign in with; link another one first.";
    /// The body is too large.
    PAYLOAD_TOO_LARGE = PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "The request body is too large.";
    /// Not JSON, or compressed.
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", "The request body must be of the type this path takes, in UTF-8, without a content encoding.";
    /// The idempotency key came before, with another body.
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", "The idempotency key has been used with another request.";
    /// The headers are too large.
    HEADERS_TOO_LARGE = REQUEST_HEADER_FIELDS_TOO_LARGE, "HEADERS_TOO_LARGE", "The request headers are too large.";
    /// Something unforeseen.
    INTERNAL_ERROR = INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "Something went wrong on our side.";
    /// Our tokens could not be signed.
    TOKEN_GENERATION_FAILED = INTERNAL_SERVER_ERROR, "TOKEN_GENERATION_FAILED", "The tokens could not be generated.";
    /// Our token does not fit into a cookie.
    TOKEN_TOO_LARGE = INTERNAL_SERVER_ERROR, "TOKEN_TOO_LARGE", "The tokens of this account are too large for a cookie.";
    /// The provider answered nonsense.
    PROVIDER_ERROR = BAD_GATEWAY, "PROVIDER_ERROR", "The identity provider gave no usable answer.";
    /// The provider cannot be reached.
    PROVIDER_UNAVAILABLE = SERVICE_UNAVAILABLE, "PROVIDER_UNAVAILABLE", "The identity provider cannot be reached.";
    /// The store cannot be reached.
    STORE_UNAVAILABLE = SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE", "Sessions cannot be stored at the moment.";
    /// The operator's user system cannot be asked for roles.
    ROLES_UNAVAILABLE = SERVICE_UNAVAILABLE, "ROLES_UNAVAILABLE", "The roles of this account cannot be looked up at the moment.";
    /// Too many requests at once.
    OVERLOADED = SERVICE_UNAVAILABLE, "OVERLOADED", "The server is busy. Please try again.";
    /// The provider did not answer in time.
    PROVIDER_TIMEOUT = GATEWAY_TIMEOUT, "PROVIDER_TIMEOUT", "The identity provider did not answer in time.";
}

impl ApiError {
    /// A refusal with nothing more to say.
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Refusal {
            kind,
            detail: None,
            fields: Vec::new(),
            clear: Vec::new(),
            allow: None,
            token_refused: false,
            alarming: false,
        }))
    }

    /// [`ErrorKind::METHOD_NOT_ALLOWED`] with the methods there are (RFC 9110 §15.5.6).
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let mut refusal = Self::new(ErrorKind::METHOD_NOT_ALLOWED);
        refusal.0.allow = Some(allow);
        refusal
    }

    /// With what really happened, for the log.
    #[must_use]
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// [`ErrorKind::INVALID_REQUEST`] with the fields at fault.
    pub(crate) fn invalid(fields: Vec<FieldError>) -> Self {
        let mut refusal = Self::new(ErrorKind::INVALID_REQUEST);
        refusal.0.fields = fields;
        refusal
    }

    /// Clears cookies along with the refusal.
    #[must_use]
    pub(crate) fn clearing(mut self, cookies: Vec<SetCookie>) -> Self {
        self.0.clear = cookies;
        self
    }

    /// Says in the challenge that the access token shown is the reason (RFC 6750 §3.1).
    #[must_use]
    pub(crate) fn about_access_token(mut self) -> Self {
        self.0.token_refused = true;
        self
    }

    /// Whether an operator should look into it.
    pub(crate) fn is_alarming(&self) -> bool {
        self.0.alarming
    }

    #[cfg(test)]
    pub(crate) fn says_token_refused(&self) -> bool {
        self.0.token_refused
    }

    /// Its row of the error table.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    #[cfg(test)]
    pub(crate) fn fields(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// What happened, for the log.
    pub(crate) fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The error shape every refusal has.
    pub(crate) fn render(&self, id: &RequestId, now: OffsetDateTime) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.kind.status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self.0.kind.status {
            StatusCode::UNAUTHORIZED => {
                let challenge = if self.0.token_refused { TOKEN_REFUSED } else { CHALLENGE };
                response.insert_header((header::WWW_AUTHENTICATE, challenge));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER.as_secs()));
            }
            _ => {}
        }
        if let Some(methods) = self.0.allow {
            response.insert_header((header::ALLOW, methods));
        }
        append_cookies(&mut response, &self.0.clear);
        response.json(ErrorBody {
            error_code: self.0.kind.code,
            message: self.0.kind.message,
            timestamp: rfc3339_seconds(now),
            request_id: id.as_str(),
            details: self
                .0
                .fields
                .iter()
                .map(|f| FieldBody { field: &f.field, message: &f.message })
                .collect(),
        })
    }
}

/// Adds `Set-Cookie` headers; a value that cannot be a header is left out, which its maker rules out.
pub(crate) fn append_cookies(response: &mut HttpResponseBuilder, cookies: &[SetCookie]) {
    for cookie in cookies {
        response.append_header((header::SET_COOKIE, cookie.expose()));
    }
}

/// An instant as answers tell it: RFC 3339, UTC, whole seconds.
pub(crate) fn rfc3339_seconds(now: OffsetDateTime) -> String {
    let whole = now.replace_nanosecond(0).unwrap_or(now);
    whole.format(&Rfc3339).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    error_code: &'a str,
    message: &'a str,
    timestamp: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<FieldBody<'a>>,
}

#[derive(Serialize)]
struct FieldBody<'a> {
    field: &'a str,
    message: &'a str,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.code)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.0.kind.status
    }

    /// The status alone: the body is written by the envelope, which knows the request id.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.0.kind.status)
    }
}

impl From<ErrorCode> for ErrorKind {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidRequest => Self::INVALID_REQUEST,
            ErrorCode::UnknownProvider => Self::UNKNOWN_PROVIDER,
            ErrorCode::RedirectUriNotAllowed => Self::REDIRECT_URI_NOT_ALLOWED,
            ErrorCode::InvalidAuthCode => Self::INVALID_AUTH_CODE,
            ErrorCode::InvalidIdToken => Self::INVALID_ID_TOKEN,
            ErrorCode::InvalidState => Self::INVALID_STATE,
            ErrorCode::AccessDenied => Self::ACCESS_DENIED,
            ErrorCode::InvalidAccessToken => Self::INVALID_ACCESS_TOKEN,
            ErrorCode::InvalidRefreshToken => Self::INVALID_REFRESH_TOKEN,
            ErrorCode::RefreshTokenExpired => Self::REFRESH_TOKEN_EXPIRED,
            ErrorCode::RefreshTokenReused => Self::REFRESH_TOKEN_REUSED,
            ErrorCode::SessionRevoked => Self::SESSION_REVOKED,
            ErrorCode::NotFound => Self::NOT_FOUND,
            ErrorCode::IdentityTaken => Self::IDENTITY_TAKEN,
            ErrorCode::LastIdentity => Self::LAST_IDENTITY,
            ErrorCode::InvalidLogoutToken => Self::INVALID_LOGOUT_TOKEN,
            ErrorCode::RolesUnavailable => Self::ROLES_UNAVAILABLE,
            ErrorCode::IdempotencyKeyReused => Self::IDEMPOTENCY_KEY_REUSED,
            ErrorCode::TokenGenerationFailed => Self::TOKEN_GENERATION_FAILED,
            ErrorCode::TokenTooLarge => Self::TOKEN_TOO_LARGE,
            ErrorCode::ProviderError => Self::PROVIDER_ERROR,
            ErrorCode::ProviderUnavailable => Self::PROVIDER_UNAVAILABLE,
            ErrorCode::ProviderTimeout => Self::PROVIDER_TIMEOUT,
            ErrorCode::StoreUnavailable => Self::STORE_UNAVAILABLE,
            ErrorCode::InternalError => Self::INTERNAL_ERROR,
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let mut refusal = Self::new(error.code().into()).with_detail(chain(&error).to_string());
        refusal.0.token_refused = matches!(error, AuthError::InvalidAccessToken(_));
        refusal.0.alarming = error.is_alarming();
        match error {
            AuthError::InvalidRequest(fields) => Self::invalid(fields),
            _ => refusal,
        }
    }
}

/// What the framework refuses by itself, in our terms.
pub(crate) fn from_framework(status: StatusCode, detail: String) -> ApiError {
    let kind = ErrorKind::ALL.iter().find(|kind| kind.status == status).copied();
    let kind = kind.unwrap_or(if status.is_client_error() {
        ErrorKind::INVALID_REQUEST
    } else {
        ErrorKind::INTERNAL_ERROR
    });
    ApiError::new(kind).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::RevokeReason;
    use mintgate_domain::ports::{
        CookieTooLarge, Misbehaviour, ProviderError, RoleLookupError, SealError, SigningError,
    };

    use super::*;

    #[test]
    fn every_domain_error_keeps_its_code_over_http() {
        let text = String::new;
        let errors = [
            AuthError::InvalidRequest(vec![]),
            AuthError::UnknownProvider,
            AuthError::RedirectUriNotAllowed,
            AuthError::InvalidAuthCode(text().into()),
            AuthError::InvalidIdToken(text().into()),
            AuthError::InvalidState(text().into()),
            AuthError::AccessDenied(text().into()),
            AuthError::InvalidAccessToken(text().into()),
            AuthError::InvalidRefreshToken(text().into()),
            AuthError::RefreshTokenExpired,
            AuthError::RefreshTokenReused,
            AuthError::SessionRevoked(RevokeReason::Logout),
            AuthError::NoSuchSession,
            AuthError::IdentityTaken,
            AuthError::LastIdentity,
            AuthError::NoSuchIdentity,
            AuthError::InvalidLogoutToken(text().into()),
            AuthError::RolesUnavailable(RoleLookupError(text().into())),
            AuthError::Seal(SealError(text().into())),
            AuthError::IdempotencyKeyReused,
            AuthError::Signing(SigningError::Failed(text().into())),
            AuthError::Signing(SigningError::KeysUnavailable(text().into())),
            AuthError::TokenTooLarge {
                source: CookieTooLarge { name: text(), bytes: 0 },
                claim: text(),
                claim_bytes: 0,
            },
            AuthError::Provider(ProviderError::CodeRefused(text().into())),
            AuthError::Provider(ProviderError::IdTokenRefused(text().into())),
            AuthError::Provider(ProviderError::LogoutTokenRefused(text().into())),
            AuthError::Provider(ProviderError::RefreshRefused(text().into())),
            AuthError::Provider(ProviderError::Misbehaved(Misbehaviour::Outage, text().into())),
            AuthError::Provider(ProviderError::Unreachable(text().into())),
            AuthError::Provider(ProviderError::TimedOut(text().into())),
            AuthError::Store(StoreError::Unavailable(text().into())),
            AuthError::Store(StoreError::SchemaMismatch(text().into())),
            AuthError::Store(StoreError::Corrupt(text().into())),
        ];
        for error in errors {
            let code = error.code().as_str();
            assert_eq!(ApiError::from(error).kind().code, code);
        }
    }

    #[test]
    fn the_documented_table_has_exactly_these_errors() {
        let documented: Vec<&str> = include_str!("../../../docs/errors.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split_once("` | "))
            .map(|(status_and_code, _)| status_and_code)
            .collect();
        let known: Vec<String> = ErrorKind::ALL
            .iter()
            .map(|kind| format!("{} | `{}", kind.status.as_u16(), kind.code))
            .collect();
        assert_eq!(documented, known, "docs/errors.md and the table here differ");
    }

    #[test]
    fn a_401_says_invalid_token_only_where_an_access_token_was_shown() {
        let challenge = |error: ApiError| {
            let id = RequestId("request-1".into());
            let response = error.render(&id, OffsetDateTime::UNIX_EPOCH);
            let header = response.headers().get(header::WWW_AUTHENTICATE).unwrap();
            header.to_str().unwrap().to_owned()
        };
        let refused = AuthError::InvalidAccessToken(String::new().into());
        let shown = "Bearer realm=\"mintgate\", error=\"invalid_token\"";
        assert_eq!(challenge(refused.into()), shown);
        let revoked = AuthError::SessionRevoked(RevokeReason::Logout);
        assert_eq!(challenge(ApiError::from(revoked.clone()).about_access_token()), shown);
        assert_eq!(challenge(revoked.into()), "Bearer realm=\"mintgate\"");
        let none = ApiError::new(ErrorKind::INVALID_ACCESS_TOKEN);
        assert_eq!(challenge(none), "Bearer realm=\"mintgate\"");
    }

    #[test]
    fn error_codes_are_unique() {
        let codes: std::collections::HashSet<_> = ErrorKind::ALL.iter().map(|k| k.code).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }
}
