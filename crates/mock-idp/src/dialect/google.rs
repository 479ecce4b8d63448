//! Google.
//!
//! - "Google OpenID Connect API Reference"
//!   <https://developers.google.com/identity/openid-connect/reference>: the issuer is
//!   `https://accounts.google.com` (without the scheme in legacy tokens only, which are ordered
//!   by changing `iss` in a recipe); `azp`, `email_verified` as a boolean, `hd` for people of a
//!   Workspace or Cloud organisation alone; `authorization_response_iss_parameter_supported`.
//! - "OpenID Connect" <https://developers.google.com/identity/openid-connect/openid-connect>: a
//!   refresh token comes with `access_type=offline`, once; `offline_access` is no scope.
//! - "Using OAuth 2.0 for Web Server Applications"
//!   <https://developers.google.com/identity/protocols/oauth2/web-server>: `redirect_uri_mismatch`,
//!   and `invalid_grant` for a refresh token that was revoked.

use serde_json::{Value, json};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::ClientAuth::{ClientSecretBasic, ClientSecretPost};
use crate::Refusal;

pub(super) static TRAITS: Traits = Traits {
    name: "google",
    authorize: "~/o/oauth2/v2/auth",
    token: "~/token",
    end_session: None,
    userinfo: Some("~/v1/userinfo"),
    jwks: Some("~/oauth2/v3/certs"),
    scopes: &["openid", "email", "profile"],
    response_modes: &["query", "fragment", "form_post"],
    client_auth: &[ClientSecretPost, ClientSecretBasic],
    refresh: Refresh { when: RefreshWhen::OnParameter, reuse: Reuse::Keep },
    errors: &[
        (Refusal::Client, 401, "invalid_client", "Unauthorized"),
        (Refusal::RedirectUri, 400, "redirect_uri_mismatch", "Bad Request"),
        (Refusal::Code, 400, "invalid_grant", "Bad Request"),
        (Refusal::RefreshToken, 400, "invalid_grant", "Token has been expired or revoked."),
    ],
    id_token: |subject| {
        let mut changes = user(subject);
        changes["azp"] = subject.sign_in.client_id.as_str().into();
        changes["amr"] = Value::Null;
        changes["acr"] = Value::Null;
        changes["auth_time"] = Value::Null;
        changes
    },
    user,
    backchannel_logout: false,
    ..PLAIN
};

fn user(subject: &Subject<'_>) -> Value {
    let domain = subject.user.email.rsplit_once('@').map(|(_, domain)| domain);
    json!({
        "preferred_username": null,
        "groups": null,
        "hd": domain.filter(|domain| *domain != "gmail.com"),
    })
}
