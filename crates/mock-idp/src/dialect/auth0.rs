//! Auth0.
//!
//! - "Validate JSON Web Tokens"
//!   <https://auth0.com/docs/secure/tokens/json-web-tokens/validate-json-web-tokens>: the issuer
//!   ends in a slash.
//! - "Create Custom Claims"
//!   <https://auth0.com/docs/secure/tokens/json-web-tokens/create-custom-claims>: roles come as a
//!   claim of a namespace; `groups` and `roles` are not to be had.
//! - "Access Tokens" <https://auth0.com/docs/secure/tokens/access-tokens>: a JWT with the parameter
//!   `audience`, opaque without it.
//! - "Authentication API" <https://auth0.com/docs/api/authentication>: the addresses and errors.
//! - "OIDC Back-Channel Logout"
//!   <https://auth0.com/docs/authenticate/login/logout/back-channel-logout>: `sid`.

use serde_json::{Value, json};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::Refusal;

pub(super) static TRAITS: Traits = Traits {
    name: "auth0",
    issuer_path: "/",
    jwks: Some("~/.well-known/jwks.json"),
    authorize: "~/authorize",
    token: "~/oauth/token",
    response_modes: &["query", "fragment", "form_post"],
    iss_parameter: false,
    refresh: Refresh { when: RefreshWhen::OnScope, reuse: Reuse::Keep },
    errors: &[
        (Refusal::Client, 401, "access_denied", "Unauthorized"),
        (Refusal::Code, 403, "invalid_grant", "Invalid authorization code"),
        (Refusal::Verifier, 403, "invalid_grant", "Failed to verify code verifier"),
        (Refusal::RefreshToken, 403, "invalid_grant", "Unknown or invalid refresh token."),
    ],
    id_token: |subject| {
        let mut changes = user(subject);
        changes["amr"] = Value::Null;
        changes["acr"] = Value::Null;
        changes
    },
    access_token: |subject| match &subject.sign_in.resource {
        Some(audience) => json!({
            "aud": [audience, subject.shared.url("~/userinfo", "")],
            "azp": subject.sign_in.client_id,
            "client_id": null,
        }),
        None => Value::Null,
    },
    user,
    ..PLAIN
};

fn user(subject: &Subject<'_>) -> Value {
    let roles = format!("{}roles", subject.shared.config.options.claims_namespace);
    json!({
        "groups": null,
        "preferred_username": null,
        "nickname": subject.user.username,
        roles: subject.user.groups,
    })
}
