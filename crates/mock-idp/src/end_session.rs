//! The endpoint where people sign out (OIDC RP-Initiated Logout §2).

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::page;
use crate::params::Params;
use crate::shared::Shared;

/// `GET /end-session`: the request, from the browser. Where it may go afterwards are the redirect URIs of
/// the client, character for character (as with Keycloak's `+`). An ID token as a hint may have expired, but
/// must be one of this provider's for that client.
pub(crate) async fn sign_out(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let params = Params::parse(request.query_string().as_bytes());
    if params.find_repeated().is_some() {
        return page::problem("A parameter occurs more than once.");
    }
    if let Some(hint) = params.find("id_token_hint")
        && let Err(problem) = check_hint(&shared, hint, params.find("client_id"))
    {
        return page::problem(problem);
    }
    let Some(client) = params.find("client_id").and_then(|id| shared.config.client(id)) else {
        return page::problem("There is no such client_id.");
    };
    let Some(uri) = params.find("post_logout_redirect_uri") else { return page::signed_out() };
    if !client.redirect_uris.iter().any(|registered| registered == uri) {
        return page::problem("This post_logout_redirect_uri is not registered for this client.");
    }
    let mut location = uri.to_owned();
    if let Some(state) = params.find("state") {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", state);
        location.push(if uri.contains('?') { '&' } else { '?' });
        location.push_str(&query.finish());
    }
    HttpResponse::SeeOther()
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}

/// Checks `id_token_hint` (OIDC RP-Initiated Logout §2, §4): its signature, issuer and audience.
fn check_hint(shared: &Shared, hint: &str, client: Option<&str>) -> Result<(), &'static str> {
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let parts = hint.rsplit_once('.').and_then(|(signed, signature)| {
        let (_, payload) = signed.split_once('.')?;
        Some((signed, decode(payload)?, decode(signature)?))
    });
    let Some((signed, payload, signature)) = parts else {
        return Err("This id_token_hint is not an ID token.");
    };
    let keys = shared.state().keys.clone();
    if !keys.has_signed(signed.as_bytes(), &signature) {
        return Err("This id_token_hint was not signed here.");
    }
    let claims: Value = serde_json::from_slice(&payload).unwrap_or_default();
    if claims.get("iss").and_then(Value::as_str) != Some(&shared.issuer) {
        return Err("This id_token_hint has another issuer.");
    }
    let is_audience = |client: &str| match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(|one| one == client),
        one => one.and_then(Value::as_str) == Some(client),
    };
    if !client.is_some_and(is_audience) {
        return Err("This id_token_hint is for another client.");
    }
    Ok(())
}
