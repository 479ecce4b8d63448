//! Errors become HTTP here and nowhere else.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use mintgate_domain::{AuthError, Cause, ErrorCode, SetCookie, chain};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use crate::RequestId;
use crate::limits::Exceeded;
use crate::pages::{self, Shown};
use crate::validation::BrokenField;

/// The `Retry-After` of a refusal that does not say another.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How much of a limit is left and until when, and what the limit is
/// (draft-ietf-httpapi-ratelimit-headers-10 §3 and §4).
const RATE_LIMIT: &str = "ratelimit";
const RATE_LIMIT_POLICY: &str = "ratelimit-policy";

/// The challenge to a request that showed no token (RFC 6750 §3).
const CHALLENGE: &str = "Bearer realm=\"mintgate\"";
/// The challenge to a request whose access token is not accepted (RFC 6750 §3.1).
const TOKEN_REFUSED: &str = "Bearer realm=\"mintgate\", error=\"invalid_token\"";

/// The challenge to a back end that does not authenticate (RFC 7617 §2).
const CLIENT_CHALLENGE: &str = "Basic realm=\"mintgate\", charset=\"UTF-8\"";

/// Why a request was refused, which decides its status, code and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// An error of the use cases; the adapter uses some of these codes too.
    Core(ErrorCode),
    /// An error that only the HTTP adapter knows.
    Http(HttpErrorCode),
}

/// The codes of errors that no use case knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpErrorCode {
    /// A session cookie came twice under one name.
    DuplicateCookie,
    /// No client has the id and the secret that the request shows, or it shows none.
    InvalidClient,
    /// A page of an origin that is not allowed made the request.
    CsrfRejected,
    /// The path does not have this method; `Allow` says which ones it has.
    MethodNotAllowed,
    /// The `Accept` header rules out JSON.
    NotAcceptable,
    /// The body took longer to arrive than the configured limit.
    RequestTimeout,
    /// The body is longer than 32 KiB.
    PayloadTooLarge,
    /// The body is of another type than the path takes, or is compressed.
    UnsupportedMediaType,
    /// The headers have more bytes than the configured limit.
    HeadersTooLarge,
}

impl HttpErrorCode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateCookie => "DUPLICATE_COOKIE",
            Self::InvalidClient => "INVALID_CLIENT",
            Self::CsrfRejected => "CSRF_REJECTED",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::NotAcceptable => "NOT_ACCEPTABLE",
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::HeadersTooLarge => "HEADERS_TOO_LARGE",
        }
    }
}

impl From<ErrorCode> for ErrorKind {
    fn from(code: ErrorCode) -> Self {
        Self::Core(code)
    }
}

impl From<HttpErrorCode> for ErrorKind {
    fn from(code: HttpErrorCode) -> Self {
        Self::Http(code)
    }
}

use {ErrorCode as Core, HttpErrorCode as Http};

/// The status and the message of every error.
macro_rules! error_table {
    ($($from:ident($code:ident) => $status:ident, $message:literal;)*) => {
        impl ErrorKind {
            const fn row(self) -> (StatusCode, &'static str) {
                match self {
                    $(Self::$from($from::$code) => (StatusCode::$status, $message),)*
                }
            }

            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$from($from::$code)),*];
        }
    };
}

error_table! {
    Core(InvalidRequest) => BAD_REQUEST, "The request is not valid.";
    Core(UnknownProvider) => BAD_REQUEST, "The identity provider is not known.";
    Core(RedirectUriNotAllowed) => BAD_REQUEST, "The redirect URI is not allowed for this provider.";
    Core(ReturnToNotAllowed) => BAD_REQUEST, "The page to return to is not allowed.";
    Http(DuplicateCookie) => BAD_REQUEST, "A session cookie was sent twice; it has been cleared. Please try again.";
    Core(InvalidLogoutToken) => BAD_REQUEST, "The logout token is invalid, expired, or was used before.";
    Core(InvalidAuthCode) => UNAUTHORIZED, "The provided authorization code is invalid or expired.";
    Core(InvalidIdToken) => UNAUTHORIZED, "The ID token is invalid or expired.";
    Core(InvalidState) => UNAUTHORIZED, "The authorization response does not belong to this sign-in.";
    Core(LoginCancelled) => UNAUTHORIZED, "The sign-in was given up at the identity provider.";
    Core(LoginExpired) => UNAUTHORIZED, "The sign-in took too long. Please start again.";
    Core(InvalidAccessToken) => UNAUTHORIZED, "The access token is missing, invalid or expired.";
    Core(InvalidRefreshToken) => UNAUTHORIZED, "The refresh token is missing or invalid.";
    Core(RefreshTokenExpired) => UNAUTHORIZED, "The refresh token has expired. Please sign in again.";
    Core(RefreshTokenReused) => UNAUTHORIZED, "The refresh token has been used before; its session has been ended. Please sign in again.";
    Core(SessionRevoked) => UNAUTHORIZED, "The session has been ended. Please sign in again.";
    Http(InvalidClient) => UNAUTHORIZED, "The client's id or secret is missing or wrong.";
    Core(AccessDenied) => FORBIDDEN, "This account has no access here. Ask whoever runs this service to let you in, or sign in with another account.";
    Http(CsrfRejected) => FORBIDDEN, "The request comes from an origin that is not allowed.";
    Core(NotFound) => NOT_FOUND, "There is nothing at this path.";
    Http(MethodNotAllowed) => METHOD_NOT_ALLOWED, "This path does not support the request's method.";
    Http(NotAcceptable) => NOT_ACCEPTABLE, "Answers are application/json, which the Accept header rules out.";
    Http(RequestTimeout) => REQUEST_TIMEOUT, "The request took too long to arrive.";
    Core(NoProviderToken) => CONFLICT, "The session has no usable token of its identity provider. Please sign in again.";
    Core(IdentityTaken) => CONFLICT, "This identity belongs to another account.";
    Core(LastIdentity) => CONFLICT, "This is the only identity to sign in with; link another one first.";
    Core(StartAgain) => CONFLICT, "This is no place of the log of revocations as it is now. Please read it from the beginning.";
    Http(PayloadTooLarge) => PAYLOAD_TOO_LARGE, "The request body is too large.";
    Http(UnsupportedMediaType) => UNSUPPORTED_MEDIA_TYPE, "The request body must be of the type this path takes, in UTF-8, without a content encoding.";
    Core(IdempotencyKeyReused) => UNPROCESSABLE_ENTITY, "The idempotency key has been used with another request.";
    Core(RateLimited) => TOO_MANY_REQUESTS, "There were too many requests. Please wait as long as Retry-After says.";
    Http(HeadersTooLarge) => REQUEST_HEADER_FIELDS_TOO_LARGE, "The request headers are too large.";
    Core(InternalError) => INTERNAL_SERVER_ERROR, "Something went wrong on our side.";
    Core(TokenGenerationFailed) => INTERNAL_SERVER_ERROR, "The tokens could not be generated.";
    Core(TokenTooLarge) => INTERNAL_SERVER_ERROR, "The tokens of this account are too large for a cookie.";
    Core(ProviderError) => BAD_GATEWAY, "The identity provider gave no usable answer.";
    Core(ProviderUnavailable) => SERVICE_UNAVAILABLE, "The identity provider cannot be reached.";
    Core(StoreUnavailable) => SERVICE_UNAVAILABLE, "Sessions cannot be stored at the moment.";
    Core(RolesUnavailable) => SERVICE_UNAVAILABLE, "The roles of this account cannot be looked up at the moment.";
    Core(Overloaded) => SERVICE_UNAVAILABLE, "The server is busy. Please try again.";
    Core(ProviderTimeout) => GATEWAY_TIMEOUT, "The identity provider did not answer in time.";
}

impl ErrorKind {
    /// The HTTP status of the answer.
    pub(crate) const fn status(self) -> StatusCode {
        self.row().0
    }

    /// The `message` of the response, for humans.
    pub(crate) const fn message(self) -> &'static str {
        self.row().1
    }

    /// The `errorCode` of the answer.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Core(code) => code.as_str(),
            Self::Http(code) => code.as_str(),
        }
    }

    /// Whether a begun login is over with this refusal of its sign-in. After any other refusal the
    /// client can try to finish the login again.
    pub(crate) const fn ends_login(self) -> bool {
        use ErrorCode::{
            AccessDenied, IdentityTaken, InvalidAuthCode, InvalidIdToken, InvalidState,
            LoginCancelled, LoginExpired,
        };
        matches!(
            self,
            Self::Core(
                InvalidState
                    | InvalidAuthCode
                    | InvalidIdToken
                    | AccessDenied
                    | IdentityTaken
                    | LoginCancelled
                    | LoginExpired
            )
        )
    }

    /// The kind of an error that the framework answered by itself with this status.
    pub(crate) fn of_framework(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Core::InvalidAccessToken.into(),
            StatusCode::NOT_FOUND => Core::NotFound.into(),
            StatusCode::METHOD_NOT_ALLOWED => Http::MethodNotAllowed.into(),
            StatusCode::NOT_ACCEPTABLE => Http::NotAcceptable.into(),
            StatusCode::REQUEST_TIMEOUT => Http::RequestTimeout.into(),
            StatusCode::PAYLOAD_TOO_LARGE => Http::PayloadTooLarge.into(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Http::UnsupportedMediaType.into(),
            StatusCode::TOO_MANY_REQUESTS => Core::RateLimited.into(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Http::HeadersTooLarge.into(),
            StatusCode::SERVICE_UNAVAILABLE => Core::Overloaded.into(),
            status if status.is_client_error() => Core::InvalidRequest.into(),
            _ => Core::InternalError.into(),
        }
    }
}

/// The refusal of a request, which the envelope turns into the answer.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    kind: ErrorKind,
    /// The real reason, for the log; never sent.
    cause: Option<Box<dyn Error>>,
    /// The request fields that break a rule.
    fields: Vec<BrokenField>,
    /// Headers of the answer besides those of its kind.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Cookies that are cleared along with the refusal.
    clear: Vec<SetCookie>,
    /// The methods that the path has, for `Allow`.
    allow: Option<String>,
    /// When the client may try again, for `Retry-After`; answers 429 and 503 have it.
    retry_after: Duration,
    /// The limit that is used up, if one is.
    exceeded: Option<Exceeded>,
    /// Whether an access token was shown that is not accepted (RFC 6750 §3.1).
    token_refused: bool,
    /// Whether an operator should investigate; the log line then has the level WARN.
    alarming: bool,
    /// How a person sees it in a browser; `None` if a program asked.
    shown: Option<Shown>,
}

impl ApiError {
    /// Makes a refusal of this kind, without a reason for the log.
    pub(crate) fn new(kind: impl Into<ErrorKind>) -> Self {
        Self(Box::new(Refusal {
            kind: kind.into(),
            cause: None,
            fields: Vec::new(),
            headers: Vec::new(),
            clear: Vec::new(),
            allow: None,
            retry_after: RETRY_AFTER,
            exceeded: None,
            token_refused: false,
            alarming: false,
            shown: None,
        }))
    }

    /// Makes the refusal `METHOD_NOT_ALLOWED`, which names the path's methods in `Allow` (RFC 9110
    /// §15.5.6).
    pub(crate) fn method_not_allowed(allow: String) -> Self {
        let mut refusal = Self::new(HttpErrorCode::MethodNotAllowed);
        refusal.0.allow = Some(allow);
        refusal
    }

    /// Makes the refusal `RATE_LIMITED`, which says how long to wait (RFC 6585 §4) and which limit it is.
    pub(crate) fn rate_limited(exceeded: Exceeded) -> Self {
        let mut refusal = Self::new(ErrorCode::RateLimited);
        refusal.0.retry_after = exceeded.wait;
        refusal.0.exceeded = Some(exceeded);
        refusal.because(format!("limits.{}_per_minute is used up", exceeded.limit.name()))
    }

    /// Makes the refusal `INVALID_REQUEST`, which names the fields that break a rule.
    pub(crate) fn invalid(fields: Vec<BrokenField>) -> Self {
        let mut refusal = Self::new(ErrorCode::InvalidRequest);
        refusal.0.fields = fields;
        refusal
    }

    /// An error that the framework answered by itself.
    pub(crate) fn of_framework(status: StatusCode, cause: impl Into<Cause>) -> Self {
        Self::new(ErrorKind::of_framework(status)).because(cause)
    }

    /// Adds the real reason, which only the log shows.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(Box::new(cause.into()));
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Adds `Set-Cookie` values that clear cookies along with the refusal.
    #[must_use]
    pub(crate) fn clearing(mut self, cookies: Vec<SetCookie>) -> Self {
        self.0.clear = cookies;
        self
    }

    /// Shows the refusal to a person.
    #[must_use]
    pub(crate) fn shown(mut self, shown: Shown) -> Self {
        self.0.shown = Some(shown);
        self
    }

    /// Says in the challenge that the access token shown is the reason (RFC 6750 §3.1).
    #[must_use]
    pub(crate) fn about_access_token(mut self) -> Self {
        self.0.token_refused = true;
        self
    }

    /// Whether an operator should investigate; the log line then has the level WARN.
    pub(crate) fn is_alarming(&self) -> bool {
        self.0.alarming
    }

    /// The kind of the refusal: its status, code and message.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The real reason with its chain of sources, and the fields that break a rule, for the log.
    pub(crate) fn reason(&self) -> Option<impl fmt::Display> {
        let (cause, fields) = (self.0.cause.as_deref(), &self.0.fields);
        let reason = fmt::from_fn(move |f| {
            if let Some(cause) = cause {
                write!(f, "{}", chain(cause))?;
            }
            for (index, BrokenField { field, rule }) in fields.iter().enumerate() {
                let between = if index > 0 || cause.is_some() { "; " } else { "" };
                write!(f, "{between}{field} {rule}")?;
            }
            Ok(())
        });
        (cause.is_some() || !fields.is_empty()).then_some(reason)
    }

    #[cfg(test)]
    pub(crate) fn fields(&self) -> &[BrokenField] {
        &self.0.fields
    }

    #[cfg(test)]
    pub(crate) fn says_token_refused(&self) -> bool {
        self.0.token_refused
    }

    /// The answer, in the shape that all errors have, unless it is shown to a person.
    pub(crate) fn render(&self, id: &RequestId, now: OffsetDateTime) -> HttpResponse {
        let (status, message) = self.0.kind.row();
        if let Some(Shown::AtPage(address)) = &self.0.shown {
            let mut response = pages::redirect(address);
            append_cookies(&mut response, &self.0.clear);
            return response.finish();
        }
        let mut response = HttpResponse::build(status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match status {
            StatusCode::UNAUTHORIZED => {
                let challenge = match self.0.kind {
                    ErrorKind::Http(HttpErrorCode::InvalidClient) => CLIENT_CHALLENGE,
                    _ if self.0.token_refused => TOKEN_REFUSED,
                    _ => CHALLENGE,
                };
                response.insert_header((header::WWW_AUTHENTICATE, challenge));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                // Not a second too early, and never at once.
                let secs = self.0.retry_after.as_millis().div_ceil(1000).max(1);
                response.insert_header((header::RETRY_AFTER, secs.to_string()));
                if let Some(Exceeded { limit, per_minute, .. }) = self.0.exceeded {
                    let name = limit.name();
                    response
                        .insert_header((RATE_LIMIT, format!("\"{name}\";r=0;t={secs}")))
                        .insert_header((
                            RATE_LIMIT_POLICY,
                            format!("\"{name}\";q={per_minute};w=60"),
                        ));
                }
            }
            _ => {}
        }
        for (name, value) in &self.0.headers {
            response.append_header((name.clone(), value.clone()));
        }
        if let Some(methods) = &self.0.allow {
            response.insert_header((header::ALLOW, methods.as_str()));
        }
        append_cookies(&mut response, &self.0.clear);
        match &self.0.shown {
            Some(Shown::AsPage { again }) => {
                return pages::error_page(response, self.0.kind, again.as_deref(), id);
            }
            Some(Shown::Hosted(page)) => return page.answer(response, self.0.kind, id),
            Some(Shown::AtPage(_)) | None => {}
        }
        response.json(ErrorBody {
            error_code: self.0.kind.code(),
            message,
            timestamp: rfc3339_seconds(now),
            request_id: id.as_str(),
            details: self
                .0
                .fields
                .iter()
                .map(|f| FieldBody { field: f.field, message: f.rule.to_string() })
                .collect(),
        })
    }
}

/// Adds `Set-Cookie` headers.
pub(crate) fn append_cookies(response: &mut HttpResponseBuilder, cookies: &[SetCookie]) {
    for cookie in cookies {
        response.append_header((header::SET_COOKIE, cookie.expose()));
    }
}

/// Formats a time for answers: RFC 3339, UTC, whole seconds.
pub(crate) fn rfc3339_seconds(now: OffsetDateTime) -> String {
    let whole = now.replace_nanosecond(0).unwrap_or(now);
    whole.format(&Rfc3339).unwrap_or_default()
}

/// The one shape of refusals.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorBody<'a> {
    /// What happened; stable, to decide by.
    error_code: &'a str,
    /// The same for people; may change.
    message: &'a str,
    /// When it happened.
    #[schema(format = DateTime)]
    timestamp: String,
    /// The id of the request, which its log line has too.
    request_id: &'a str,
    /// The fields that break a rule; left out where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<FieldBody>,
}

/// A field that breaks a rule.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldBody {
    /// The name of the field.
    field: &'static str,
    /// The rule that it breaks; never its value.
    message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.code())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.0.kind.status()
    }

    /// The status alone: the body is written by the envelope, which knows the request id.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.0.kind.status())
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let mut refusal = Self::new(error.code());
        refusal.0.token_refused = matches!(error, AuthError::InvalidAccessToken(_));
        refusal.0.alarming = error.is_alarming();
        match error {
            AuthError::InvalidRequest(fields) => {
                refusal.0.fields = fields.into_iter().map(BrokenField::from).collect();
            }
            error => refusal.0.cause = Some(Box::new(error)),
        }
        refusal
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::RevokeReason;
    use mintgate_domain::ports::StoreError;

    use super::*;

    #[test]
    fn the_documented_table_has_exactly_these_errors() {
        let documented: Vec<&str> = include_str!("../../../docs/errors.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split_once("` | "))
            .map(|(status_and_code, _)| status_and_code)
            .collect();
        let known: Vec<String> = ErrorKind::ALL
            .iter()
            .map(|kind| format!("{} | `{}", kind.status().as_u16(), kind.code()))
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
        let none = ApiError::new(ErrorCode::InvalidAccessToken);
        assert_eq!(challenge(none), "Bearer realm=\"mintgate\"");
    }

    #[test]
    fn error_codes_are_unique() {
        let codes: std::collections::HashSet<_> =
            ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn what_the_framework_refuses_by_itself_has_a_code_of_its_own_kind() {
        let code = |status| ErrorKind::of_framework(status).code();
        assert_eq!(code(StatusCode::UNAUTHORIZED), "INVALID_ACCESS_TOKEN");
        assert_eq!(code(StatusCode::SERVICE_UNAVAILABLE), "OVERLOADED");
        assert_eq!(code(StatusCode::EXPECTATION_FAILED), "INVALID_REQUEST");
        assert_eq!(code(StatusCode::BAD_GATEWAY), "INTERNAL_ERROR");
        for kind in [Http::PayloadTooLarge, Http::RequestTimeout, Http::MethodNotAllowed] {
            assert_eq!(ErrorKind::of_framework(ErrorKind::from(kind).status()), kind.into());
        }
    }

    #[test]
    fn the_log_shows_every_level_of_an_error_once() {
        let cause = Cause::from_error("the pool is empty", std::io::Error::other("reset"));
        let error = ApiError::from(AuthError::Store(StoreError::Unavailable(cause)));
        let shown = error.reason().unwrap().to_string();
        assert!(shown.ends_with(": the pool is empty: reset"), "{shown}");
        assert_eq!(shown.matches("the pool is empty").count(), 1, "{shown}");
    }
}
