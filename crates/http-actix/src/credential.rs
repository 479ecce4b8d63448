//! Reads the token that a request presents: from a header, the body or a cookie.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::Payload;
use garde::Validate;
use mintgate_domain::{ErrorCode, PresentedToken};
use utoipa::ToSchema;

use crate::AppState;
use crate::body::read_optional_json;
use crate::envelope::refuse_duplicate_cookies;
use crate::error::{ApiError, HttpErrorCode};
use crate::json::{Fields, Members};
use crate::openapi::Operation;
use crate::validation::Characters::Printable;
use crate::validation::{Broken, text};

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1). A header of another scheme is
/// ignored: it may be meant for a proxy in front of this service.
///
/// # Errors
/// `INVALID_ACCESS_TOKEN` if there is more than one header, or the header is malformed.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<PresentedToken>, ApiError> {
    let mut all = headers.get_all(header::AUTHORIZATION);
    let Some(first) = all.next() else { return Ok(None) };
    let refused = |detail: &'static str| {
        Err(ApiError::new(ErrorCode::InvalidAccessToken).because(detail).about_access_token())
    };
    if all.next().is_some() {
        return refused("there are two Authorization headers");
    }
    match credentials(first) {
        Credentials::OtherScheme => Ok(None),
        Credentials::Empty => Err(ApiError::new(ErrorCode::InvalidAccessToken)
            .because("the Authorization header has no token")),
        Credentials::Malformed => refused("the Authorization header is malformed"),
        Credentials::Token(token) => Ok(Some(PresentedToken::new(token))),
    }
}

enum Credentials<'a> {
    OtherScheme,
    Empty,
    Malformed,
    Token(&'a str),
}

fn credentials(value: &HeaderValue) -> Credentials<'_> {
    let bytes = value.as_bytes();
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = bytes.iter().position(|byte| !is_scheme(byte)).unwrap_or(bytes.len());
    let (scheme, rest) = bytes.split_at(end);
    if scheme.is_empty() || !matches!(rest.first(), None | Some(b' ')) {
        return Credentials::Malformed;
    }
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Credentials::OtherScheme;
    }
    match std::str::from_utf8(rest).map(|token| token.trim_matches(' ')) {
        Ok("") => Credentials::Empty,
        Ok(token) if is_b64token(token) => Credentials::Token(token),
        _ => Credentials::Malformed,
    }
}

/// Whether the text is a `b64token` (RFC 6750 §2.1).
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

/// The access token of the caller: the bearer token or, if there is none, that of the access cookie.
/// A request that `changes` something and is authorised by a cookie is refused from a page of a
/// foreign origin.
///
/// # Errors
/// `CSRF_REJECTED`, `DUPLICATE_COOKIE`, or `INVALID_ACCESS_TOKEN` if there is no token.
pub(crate) fn access_token(
    request: &HttpRequest,
    state: &AppState,
    changes: bool,
) -> Result<PresentedToken, ApiError> {
    let headers = request.headers();
    let bearer = bearer(headers)?;
    guard_cookies(request, state, !changes || bearer.is_some())?;
    bearer.or_else(|| state.ports.cookies.access_token(headers)).ok_or_else(no_credential)
}

impl Operation {
    /// Needs an [`access_token`].
    pub(crate) fn needs_access_token(self, changes: bool) -> Self {
        use ErrorCode::{InvalidAccessToken, Overloaded, SessionRevoked, StoreUnavailable};
        let secured = self
            .secured_by(&["accessToken", "accessCookie"])
            .refuses([InvalidAccessToken, Overloaded, SessionRevoked, StoreUnavailable])
            .refuses([HttpErrorCode::DuplicateCookie]);
        if changes { secured.refuses([HttpErrorCode::CsrfRejected]) } else { secured }
    }
}

/// The refusal of a request that presents no token.
pub(crate) fn no_credential() -> ApiError {
    ApiError::new(ErrorCode::InvalidAccessToken).because("no credential was shown")
}

/// Refuses duplicate session cookies and, unless the request is `authorised_without` cookies, session
/// cookies from a page of a foreign origin.
///
/// # Errors
/// `CSRF_REJECTED`, `DUPLICATE_COOKIE`
pub(crate) fn guard_cookies(
    request: &HttpRequest,
    state: &AppState,
    authorised_without: bool,
) -> Result<(), ApiError> {
    if !authorised_without && state.ports.cookies.any(request.headers()) {
        state.origins.guard(request.headers())?;
    }
    refuse_duplicate_cookies(request, state)
}

/// The `refreshToken` member of the body, if there is a body and it has the member.
///
/// # Errors
/// As [`read_optional_json`], and `INVALID_REQUEST`.
pub(crate) async fn refresh_token_in_body(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<Option<PresentedToken>, ApiError> {
    match read_optional_json(request, state, payload).await? {
        None => Ok(None),
        Some(body) => refresh_token_member(&body),
    }
}

/// Far longer than any refresh token of ours, in bytes.
pub(crate) const MAX_REFRESH_TOKEN: usize = 4096;

/// A refresh token, where it does not come in a cookie.
#[derive(Validate, ToSchema)]
#[garde(context(Broken))]
#[schema(rename_all = "camelCase")]
pub(crate) struct RefreshTokenBody {
    /// The refresh token.
    #[garde(inner(custom(text("refreshToken", 1..=MAX_REFRESH_TOKEN, Printable))))]
    refresh_token: Option<String>,
}

impl Fields for RefreshTokenBody {
    fn take(members: &mut Members) -> Self {
        Self { refresh_token: members.take_text("refreshToken") }
    }
}

fn refresh_token_member(body: &[u8]) -> Result<Option<PresentedToken>, ApiError> {
    let mut members = Members::parse(body)?;
    let body: RefreshTokenBody = members.take();
    members.end(Some(body.refresh_token.map(PresentedToken::new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::{BrokenField, BrokenRule, Characters};

    /// The token, or whether the challenge says `invalid_token`.
    fn read(values: &[&'static str]) -> Result<Option<String>, bool> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        bearer(&headers).map(|token| token.map(|token| token.expose().to_owned())).map_err(
            |error| {
                assert_eq!(error.kind(), ErrorCode::InvalidAccessToken.into());
                error.says_token_refused()
            },
        )
    }

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for value in ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "BEARER  a.b-c_d~e+f/g=="]
        {
            assert_eq!(read(&[value]), Ok(Some("a.b-c_d~e+f/g==".to_owned())), "{value}");
        }
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["Basic YTpi"]), Ok(None));
    }

    #[test]
    fn a_malformed_or_doubled_authorization_header_is_refused() {
        for value in [
            "Bearer a b",
            "Bearer a,b",
            "Bearer =",
            "Bearer \"a\"",
            "Bearer\ta",
            "Bearer:a",
            ", Bearer a",
        ] {
            assert_eq!(read(&[value]), Err(true), "{value}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"]), Err(true));
        assert_eq!(read(&["Basic YTpi", "Bearer a"]), Err(true));
        for value in ["Bearer", "Bearer "] {
            assert_eq!(read(&[value]), Err(false), "{value}: no token was shown");
        }
    }

    #[test]
    fn case_02_a_refresh_token_in_the_body_is_a_bounded_text() {
        let token = |body: &str| {
            refresh_token_member(body.as_bytes())
                .map(|token| token.map(|token| token.expose().to_owned()))
                .map_err(|error| error.fields().to_vec())
        };
        assert_eq!(token("{}"), Ok(None));
        assert_eq!(token(r#"{"refreshToken":null,"other":[1]}"#), Ok(None));
        assert_eq!(token(r#"{"refreshToken":"t","sub":"x"}"#), Ok(Some("t".to_owned())));
        let fits = "t".repeat(4096);
        assert_eq!(token(&format!(r#"{{"refreshToken":"{fits}"}}"#)), Ok(Some(fits.clone())));
        for (body, rule) in [
            (r#"{"refreshToken":7}"#, BrokenRule::NotText),
            (r#"{"refreshToken":""}"#, BrokenRule::TooShort(1)),
            (&format!(r#"{{"refreshToken":"{fits}t"}}"#), BrokenRule::TooLong(4096)),
            (r#"{"refreshToken":"a\u0000"}"#, BrokenRule::Not(Characters::Printable)),
            (r#"{"refreshToken":"é"}"#, BrokenRule::Not(Characters::Printable)),
        ] {
            assert_eq!(token(body), Err(vec![BrokenField::new("refreshToken", rule)]), "{body}");
        }
        for body in ["[]", r#"{"refreshToken":"a","refreshToken":"b"}"#] {
            assert_eq!(token(body).unwrap_err()[0].field, "body", "{body}");
        }
    }
}
