//! The authorization endpoint (RFC 6749 §4.1.1, OIDC Core §3.1.2).

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::dialect::Traits;
use crate::page;
use crate::params::Params;
use crate::shared::Shared;
use crate::{Habit, MockUser, SignIn};

/// The answer to an authorization request.
enum Answer {
    /// The sign-in page, where the user chooses an account.
    Ask,
    /// The user belongs to another tenant.
    OtherTenant,
    /// A redirect to the client with a code, and with the user's name if the dialect sends it.
    Code(String, Option<String>),
    /// A redirect to the client with an error (RFC 6749 §4.1.2.1).
    Error(&'static str, &'static str),
}

/// `GET /authorize`: the request, from the browser.
pub(crate) async fn ask(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let params = Params::parse(request.query_string().as_bytes());
    respond(&shared, &request, &params, false)
}

/// `POST /authorize`: the form of the sign-in page, which repeats the request and adds the choice.
pub(crate) async fn choose(
    shared: Data<Shared>,
    request: HttpRequest,
    body: Bytes,
) -> HttpResponse {
    respond(&shared, &request, &Params::parse(&body), true)
}

fn respond(
    shared: &Shared,
    request: &HttpRequest,
    params: &Params,
    may_choose: bool,
) -> HttpResponse {
    shared.state().stats.authorize += 1;
    let redirect_uri = match trusted_redirect_uri(shared, params) {
        Ok(uri) => uri,
        // RFC 6749 §4.1.2.1: the browser must not be redirected to an unregistered URI.
        Err(problem) => return page::problem(problem),
    };
    if needs_form_post(shared, params) && params.find("response_mode") != Some("form_post") {
        return page::problem(
            "invalid_request: response_mode must be form_post when name or email scope is requested.",
        );
    }
    let redirect = ClientRedirect { shared, params, redirect_uri };
    let tenant = request.match_info().get("tenant").unwrap_or_default();
    match decide(shared, params, tenant, redirect_uri, may_choose) {
        Answer::Ask => page::sign_in(&shared.config.users, params, request.path()),
        Answer::OtherTenant => page::problem(
            "AADSTS50020: The account does not exist in this tenant and cannot access the application.",
        ),
        Answer::Code(code, user) => {
            let mut members = vec![("code", code.as_str())];
            members.extend(user.as_deref().map(|user| ("user", user)));
            redirect.send(&members)
        }
        Answer::Error(error, description) => {
            redirect.send(&[("error", error), ("error_description", description)])
        }
    }
}

/// Whether one of the requested scopes needs `response_mode=form_post`.
fn needs_form_post(shared: &Shared, params: &Params) -> bool {
    let mut scopes = params.find("scope").unwrap_or_default().split(' ');
    scopes.any(|scope| shared.traits().form_post_scopes.contains(&scope))
}

/// The request's redirect URI, if it is registered for its client.
fn trusted_redirect_uri<'a>(
    shared: &'a Shared,
    params: &'a Params,
) -> Result<&'a str, &'static str> {
    if params.is_repeated("client_id") || params.is_repeated("redirect_uri") {
        return Err("client_id or redirect_uri occurs more than once.");
    }
    let client = params
        .find("client_id")
        .and_then(|id| shared.config.client(id))
        .ok_or("There is no such client_id.")?;
    let default = client.redirect_uris.first().filter(|_| shared.traits().bare_oauth2);
    let uri = params
        .find("redirect_uri")
        .or(default.map(String::as_str))
        .ok_or("redirect_uri is missing.")?;
    if client.redirect_uris.iter().any(|registered| registered == uri) {
        Ok(uri)
    } else {
        Err("This redirect_uri is not registered for this client.")
    }
}

fn decide(
    shared: &Shared,
    params: &Params,
    tenant: &str,
    redirect_uri: &str,
    may_choose: bool,
) -> Answer {
    if let Some((error, description)) = find_mistake(shared.traits(), params) {
        return Answer::Error(error, description);
    }
    let wants_offline =
        params.find("scope").unwrap_or_default().split(' ').any(|scope| scope == "offline_access");
    let consents =
        params.find("prompt").unwrap_or_default().split(' ').any(|word| word == "consent");
    if wants_offline && shared.state().habits().has(Habit::NoOfflineScope) {
        return Answer::Error("invalid_scope", "there is no scope offline_access");
    }
    if wants_offline && !consents && shared.state().habits().has(Habit::ConsentForOffline) {
        return Answer::Error("invalid_request", "offline_access needs prompt=consent");
    }
    let choice = params.find("user").filter(|_| may_choose);
    if may_choose && params.find("cancel").is_some() {
        return Answer::Error("access_denied", "the person pressed Cancel");
    }
    let silent = params.find("prompt") == Some("none");
    let hint = params.find("login_hint").filter(|_| silent);
    match choice.or(hint).and_then(|name| shared.config.known_user(name)) {
        Some(user) => sign_in(shared, params, tenant, redirect_uri, user),
        None if silent => Answer::Error("login_required", "login_hint names nobody"),
        None => Answer::Ask,
    }
}

fn sign_in(
    shared: &Shared,
    params: &Params,
    tenant: &str,
    redirect_uri: &str,
    user: &MockUser,
) -> Answer {
    let text = |name: &str| params.find(name).map(String::from);
    let sign_in = SignIn {
        user: user.username.clone(),
        client_id: text("client_id").unwrap_or_default(),
        redirect_uri: redirect_uri.into(),
        nonce: text("nonce"),
        code_challenge: text("code_challenge"),
        scope: text("scope").unwrap_or_default(),
        resource: text("resource").or_else(|| text("audience")),
        offline: params.find("access_type") == Some("offline"),
        sid: None,
    };
    if !(shared.traits().admits)(&shared.subject(user, &sign_in), tenant) {
        return Answer::OtherTenant;
    }
    let mut state = shared.state();
    if state.grants.is_disabled(&user.username) {
        return Answer::Error("access_denied", "the account is disabled");
    }
    let is_first = state.grants.is_first_login(&user.username, &sign_in.client_id);
    drop(state);
    let posts_user = shared.traits().posts_user && is_first && needs_form_post(shared, params);
    let name = posts_user.then(|| posted_user(user, &sign_in));
    Answer::Code(shared.issue_code(sign_in), name)
}

/// The member `user` that Apple posts with a client's first code: name and email address, if their
/// scopes were requested.
fn posted_user(user: &MockUser, sign_in: &SignIn) -> String {
    let (first, last) = user.name.split_once(' ').unwrap_or((&user.name, ""));
    let mut posted = Map::new();
    if sign_in.has_scope("name") {
        posted.insert("name".into(), json!({ "firstName": first, "lastName": last }));
    }
    if sign_in.has_scope("email") {
        posted.insert("email".into(), user.email.as_str().into());
    }
    Value::Object(posted).to_string()
}

/// The error, with its description, of a request whose client is known.
fn find_mistake(traits: &Traits, params: &Params) -> Option<(&'static str, &'static str)> {
    if params.find_repeated().is_some() {
        return Some(("invalid_request", "a parameter occurs more than once"));
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
        None if traits.bare_oauth2 => {}
        None => return Some(("invalid_request", "response_type is missing")),
    }
    if params.find("response_mode").is_some_and(|mode| !traits.response_modes.contains(&mode)) {
        return Some(("invalid_request", "response_mode is not supported"));
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

struct ClientRedirect<'a> {
    shared: &'a Shared,
    params: &'a Params,
    redirect_uri: &'a str,
}

impl ClientRedirect<'_> {
    /// Redirects the browser with the client's state and, if the dialect sends it, the issuer
    /// (RFC 9207), in the requested response mode (OAuth 2.0 Multiple Response Types §2.1, OAuth 2.0
    /// Form Post Response Mode).
    fn send(&self, members: &[(&str, &str)]) -> HttpResponse {
        let mut members = members.to_vec();
        members.extend(self.params.find("state").map(|state| ("state", state)));
        if self.shared.names_itself() {
            members.push(("iss", &self.shared.issuer));
        }
        let uri = self.redirect_uri;
        let supported = self.shared.traits().response_modes;
        let mode = self.params.find("response_mode").filter(|mode| supported.contains(mode));
        if mode == Some("form_post") {
            return page::form_post(uri, &members);
        }
        let joint = match mode {
            Some("fragment") => '#',
            _ if uri.contains('?') => '&',
            _ => '?',
        };
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&members);
        // 303 turns the form's POST into a GET.
        HttpResponse::SeeOther()
            .insert_header((LOCATION, format!("{uri}{joint}{}", query.finish())))
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish()
    }
}
