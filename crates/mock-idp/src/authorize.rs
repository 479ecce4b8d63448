//! The authorization endpoint (RFC 6749 §4.1.1, OIDC Core §3.1.2).

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::SignIn;
use crate::page;
use crate::params::Params;
use crate::state::Shared;

/// How an authorization request is answered.
enum Answer {
    /// Somebody has to pick who they are.
    Ask,
    /// Back to the client with a code.
    Code(String),
    /// Back to the client with an error (RFC 6749 §4.1.2.1).
    Error(&'static str, &'static str),
}

/// `GET /authorize`: the request, from the browser.
pub(crate) async fn ask(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    respond(&shared, &Params::parse(request.query_string().as_bytes()), false)
}

/// `POST /authorize`: the page's form, which repeats the request and adds the choice.
pub(crate) async fn choose(shared: Data<Shared>, body: Bytes) -> HttpResponse {
    respond(&shared, &Params::parse(&body), true)
}

fn respond(shared: &Shared, params: &Params, may_choose: bool) -> HttpResponse {
    shared.state().stats.authorize += 1;
    let redirect_uri = match trusted_redirect_uri(shared, params) {
        Ok(uri) => uri,
        // RFC 6749 §4.1.2.1: the browser must not be sent to an address nobody vouches for.
        Err(problem) => return page::problem(problem),
    };
    match decide(shared, params, redirect_uri, may_choose) {
        Answer::Ask => page::sign_in(&shared.config.users, params),
        Answer::Code(code) => redirect(shared, params, redirect_uri, &[("code", &code)]),
        Answer::Error(error, description) => {
            let members = [("error", error), ("error_description", description)];
            redirect(shared, params, redirect_uri, &members)
        }
    }
}

/// The request's redirect URI, if it is registered for its client.
fn trusted_redirect_uri<'a>(shared: &Shared, params: &'a Params) -> Result<&'a str, &'static str> {
    if params.is_repeated("client_id") || params.is_repeated("redirect_uri") {
        return Err("client_id or redirect_uri comes more than once.");
    }
    let client = params
        .find("client_id")
        .and_then(|id| shared.config.client(id))
        .ok_or("There is no such client_id.")?;
    let uri = params.find("redirect_uri").ok_or("redirect_uri is missing.")?;
    if client.redirect_uris.iter().any(|registered| registered == uri) {
        Ok(uri)
    } else {
        Err("This redirect_uri is not registered for this client.")
    }
}

fn decide(shared: &Shared, params: &Params, redirect_uri: &str, may_choose: bool) -> Answer {
    if let Some((error, description)) = find_mistake(params) {
        return Answer::Error(error, description);
    }
    let choice = params.find("user").filter(|_| may_choose);
    if may_choose && params.find("cancel").is_some() {
        return Answer::Error("access_denied", "the person pressed Cancel");
    }
    let silent = params.find("prompt") == Some("none");
    let hint = params.find("login_hint").filter(|_| silent);
    match choice.or(hint).filter(|name| shared.config.known_user(name).is_some()) {
        Some(user) => Answer::Code(shared.issue_code(SignIn {
            user: user.into(),
            client_id: params.find("client_id").unwrap_or_default().into(),
            redirect_uri: redirect_uri.into(),
            nonce: params.find("nonce").map(Into::into),
            code_challenge: params.find("code_challenge").map(Into::into),
            scope: params.find("scope").unwrap_or_default().into(),
        })),
        None if silent => Answer::Error("login_required", "login_hint names nobody"),
        None => Answer::Ask,
    }
}

/// What is wrong with a request whose client is known: the error and its description.
fn find_mistake(params: &Params) -> Option<(&'static str, &'static str)> {
    if params.find_repeated().is_some() {
        return Some(("invalid_request", "a parameter comes more than once"));
    }
    if params.find("request").is_some() {
        return Some(("request_not_supported", "request objects are not supported"));
    }
    if params.find("request_uri").is_some() {
        return Some(("request_uri_not_supported", "request objects are not supported"));
    }
    match params.find("response_type") {
        Some("code") => {}
        Some(_) => return Some(("unsupported_response_type", "response_type must be code")),
        None => return Some(("invalid_request", "response_type is missing")),
    }
    if params.find("response_mode").is_some_and(|mode| mode != "query") {
        return Some(("invalid_request", "response_mode must be query"));
    }
    match (params.find("code_challenge"), params.find("code_challenge_method")) {
        (None, None) => None,
        (None, Some(_)) => Some(("invalid_request", "code_challenge is missing")),
        (Some(challenge), Some("S256")) if is_sha256(challenge) => None,
        (Some(_), Some("S256")) => Some(("invalid_request", "code_challenge is no SHA-256")),
        // Without a method it would be "plain" (RFC 7636 §4.3).
        (Some(_), _) => Some(("invalid_request", "code_challenge_method must be S256")),
    }
}

fn is_sha256(challenge: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(challenge).is_ok_and(|hash| hash.len() == 32)
}

/// Back to the client, with its state and our name (RFC 9207).
fn redirect(
    shared: &Shared,
    params: &Params,
    redirect_uri: &str,
    members: &[(&str, &str)],
) -> HttpResponse {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(members);
    if let Some(state) = params.find("state") {
        query.append_pair("state", state);
    }
    query.append_pair("iss", &shared.issuer);
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    let location = format!("{redirect_uri}{joint}{}", query.finish());
    // 303 turns the form's POST into a GET.
    HttpResponse::SeeOther()
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}
