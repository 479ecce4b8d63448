//! GitHub: OAuth 2.0 alone. There is no discovery and no ID token; who signed in is asked of an API.
//!
//! - "Authorizing OAuth apps"
//!   <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>: the
//!   addresses, `redirect_uri` optional, the token answer form-encoded unless `Accept` asks for
//!   JSON, its scopes by commas.
//! - "Troubleshooting OAuth app access token request errors"
//!   <https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>:
//!   `incorrect_client_credentials`, `redirect_uri_mismatch` and `bad_verification_code`, in the
//!   form of a success. They come under HTTP 200, see
//!   <https://github.com/octokit/auth-oauth-app.js/issues/13>.
//! - "REST API endpoints for users" <https://docs.github.com/en/rest/users/users>: a numeric `id`,
//!   `login`, and an `email` that is null unless it is on the public profile.
//! - "REST API endpoints for emails" <https://docs.github.com/en/rest/users/emails>: `primary` and
//!   `verified`, and the scope `user:email`.
//! - "Getting started with the REST API"
//!   <https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api>: every
//!   request must have a `User-Agent`.

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::ClientAuth::{ClientSecretBasic, ClientSecretPost};
use crate::answer::answer;
use crate::refusal::Wording;
use crate::shared::Shared;
use crate::state::Endpoint;
use crate::{MockUser, Refusal, userinfo};

const PAGE: &str =
    "/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/";

pub(super) static TRAITS: Traits = Traits {
    name: "github",
    discovery: None,
    jwks: None,
    authorize: "~/login/oauth/authorize",
    token: "~/login/oauth/access_token",
    end_session: None,
    userinfo: Some("~/user"),
    more_routes: |config| {
        config.route("/user/emails", web::get().to(emails));
    },
    scopes: &["read:user", "user:email"],
    iss_parameter: false,
    bare_oauth2: true,
    client_auth: &[ClientSecretPost, ClientSecretBasic],
    refresh: Refresh { when: RefreshWhen::Never, reuse: Reuse::Keep },
    errors: &[
        (
            Refusal::Client,
            200,
            "incorrect_client_credentials",
            "The client_id and/or client_secret passed are incorrect.",
        ),
        (
            Refusal::RedirectUri,
            200,
            "redirect_uri_mismatch",
            "The redirect_uri MUST match the registered callback URL for this application.",
        ),
        (Refusal::Code, 200, "bad_verification_code", "The code passed is incorrect or expired."),
    ],
    error_body,
    encode,
    access_prefix: "gho_",
    profile: |subject| {
        let user = subject.user;
        Some(json!({
            "login": user.username,
            "id": numeric_id(user),
            "type": "User",
            "name": user.name,
            "email": user.public_email.then_some(&user.email),
        }))
    },
    needs_user_agent: true,
    unauthorized: r#"{"message":"Bad credentials","status":"401"}"#,
    backchannel_logout: false,
    ..PLAIN
};

/// The number of the account, which stays the same when its name changes.
fn numeric_id(user: &MockUser) -> u32 {
    let hash = Sha256::digest(&user.sub);
    u32::from_be_bytes([hash[0] >> 2, hash[1], hash[2], hash[3]])
}

fn error_body(words: &Wording) -> Map<String, Value> {
    let mut body = crate::refusal::standard_body(words);
    let anchor = words.2.replace('_', "-");
    body.insert("error_uri".into(), format!("{PAGE}#{anchor}").into());
    body
}

fn encode(
    mut builder: HttpResponseBuilder,
    headers: &HeaderMap,
    body: &Map<String, Value>,
) -> HttpResponse {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    builder.insert_header((CACHE_CONTROL, "no-store"));
    if accept.contains("json") {
        return builder.json(body);
    }
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in body {
        form.append_pair(name, &value.as_str().map_or_else(|| value.to_string(), Into::into));
    }
    builder.content_type("application/x-www-form-urlencoded; charset=utf-8").body(form.finish())
}

async fn emails(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(shared, Endpoint::Emails, |shared| {
        let sign_in = match userinfo::authorize(shared, &request) {
            Ok(sign_in) => sign_in,
            Err(refusal) => return *refusal,
        };
        if !["user", "user:email"].iter().any(|scope| sign_in.has_scope(scope)) {
            return HttpResponse::NotFound().json(json!({ "message": "Not Found" }));
        }
        let user = shared.config.user(&sign_in.user);
        list(&shared.subject(&user, &sign_in))
    })
    .await
}

/// Lists the account's email addresses, with the `noreply` address that GitHub gives every account.
fn list(subject: &Subject<'_>) -> HttpResponse {
    let user = subject.user;
    let hidden = format!("{}+{}@users.noreply.github.com", numeric_id(user), user.username);
    let visibility = if user.public_email { "public" } else { "private" };
    HttpResponse::Ok().json(json!([
        { "email": hidden, "primary": false, "verified": true, "visibility": null },
        {
            "email": user.email,
            "primary": true,
            "verified": user.email_verified,
            "visibility": visibility,
        },
    ]))
}
