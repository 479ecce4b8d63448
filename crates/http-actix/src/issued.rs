//! The answer that delivers tokens, after a sign-in and after a refresh.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use mintgate_domain::{ErrorCode, IssuedTokens};
use serde::Serialize;
use utoipa::ToSchema;

use crate::cookies::HttpCookiePolicy;
use crate::error::append_cookies;
use crate::openapi::Operation;

/// Tokens of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenResponseBody<'a> {
    /// What was done, for people.
    message: &'static str,
    /// The access token, a JWT.
    access_token: &'a str,
    /// How long the access token is good, in seconds.
    expires_in: u64,
    /// `Bearer`.
    token_type: &'static str,
    /// The refresh token, if it is delivered in the body and not in a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    /// How long the refresh token is good, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_expires_in: Option<u64>,
}

impl Operation {
    /// Succeeds with tokens, unless they cannot be made.
    pub(crate) fn answers_tokens(self, description: &str) -> Self {
        use ErrorCode::{RolesUnavailable, TokenGenerationFailed, TokenTooLarge};
        self.answers::<TokenResponseBody<'_>>(StatusCode::OK, description)
            .sends("Set-Cookie")
            .refuses([RolesUnavailable, TokenGenerationFailed, TokenTooLarge])
    }
}

/// Delivers the tokens. The refresh token is either in a cookie or in the body.
pub(crate) fn answer(
    message: &'static str,
    tokens: &IssuedTokens,
    policy: &HttpCookiePolicy,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    let in_body = tokens.cookies.is_none();
    append_session_cookies(&mut response, tokens, policy);
    response.json(TokenResponseBody {
        message,
        access_token: tokens.access.expose(),
        expires_in: tokens.access_expires_in.as_secs(),
        token_type: "Bearer",
        refresh_token: in_body.then(|| tokens.refresh.expose()),
        refresh_expires_in: in_body.then_some(tokens.refresh_expires_in.as_secs()),
    })
}

/// Adds the cookies of the session, unless its tokens are delivered in the body.
pub(crate) fn append_session_cookies(
    response: &mut HttpResponseBuilder,
    tokens: &IssuedTokens,
    policy: &HttpCookiePolicy,
) {
    if let Some(pair) = &tokens.cookies {
        append_cookies(response, pair);
        append_cookies(response, policy.hint(tokens.refresh_expires_in).as_slice());
    }
}
