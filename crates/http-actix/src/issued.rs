//! The answer that delivers tokens, after a sign-in and after a refresh.

use actix_web::HttpResponse;
use actix_web::http::header;
use mintgate_domain::IssuedTokens;
use serde::Serialize;

use crate::error::append_cookies;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenResponseBody<'a> {
    message: &'static str,
    access_token: &'a str,
    expires_in: u64,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_expires_in: Option<u64>,
}

/// Delivers the tokens. The refresh token is either in a cookie or in the body.
pub(crate) fn answer(message: &'static str, tokens: &IssuedTokens) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    let in_body = tokens.cookies.is_none();
    append_cookies(&mut response, tokens.cookies.as_ref().map_or(&[], |pair| pair));
    response.json(TokenResponseBody {
        message,
        access_token: tokens.access.expose(),
        expires_in: tokens.access_expires_in.as_secs(),
        token_type: "Bearer",
        refresh_token: in_body.then(|| tokens.refresh.expose()),
        refresh_expires_in: in_body.then_some(tokens.refresh_expires_in.as_secs()),
    })
}
