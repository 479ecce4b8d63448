//! Keycloak.
//!
//! - "Securing applications and services with OpenID Connect"
//!   <https://www.keycloak.org/securing-apps/oidc-layers>: the issuer `/realms/NAME` and the
//!   addresses under `/protocol/openid-connect`.
//! - "Server Administration Guide", "OIDC token and SAML assertion mappings" and "Role scope
//!   mappings" <https://www.keycloak.org/docs/latest/server_admin/>: `realm_access.roles` and
//!   `resource_access.CLIENT.roles`. The built-in mappers put them into access tokens; into ID
//!   tokens they come with "Add to ID token", which is taken to be on here.
//! - "Server Administration Guide", "OpenID Connect", back-channel logout and `sid`; a response
//!   also carries `iss`.

use serde_json::{Value, json};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::Refusal;

pub(super) static TRAITS: Traits = Traits {
    name: "keycloak",
    issuer_path: "/realms/mintgate",
    jwks: Some("~/protocol/openid-connect/certs"),
    authorize: "~/protocol/openid-connect/auth",
    token: "~/protocol/openid-connect/token",
    userinfo: Some("~/protocol/openid-connect/userinfo"),
    scopes: &["openid", "profile", "email", "roles", "offline_access"],
    response_modes: &["query", "fragment", "form_post"],
    refresh: Refresh { when: RefreshWhen::Always, reuse: Reuse::Renew },
    errors: &[
        (
            Refusal::Client,
            401,
            "unauthorized_client",
            "Invalid client or Invalid client credentials",
        ),
        (Refusal::Code, 400, "invalid_grant", "Code not valid"),
        (Refusal::RedirectUri, 400, "invalid_grant", "Incorrect redirect_uri"),
        (Refusal::Verifier, 400, "invalid_grant", "PKCE verification failed: Code mismatch"),
        (Refusal::RefreshToken, 400, "invalid_grant", "Token is not active"),
        (Refusal::DisabledUser, 400, "invalid_grant", "User disabled"),
    ],
    id_token: |subject| {
        let mut changes = roles(subject);
        changes["typ"] = "ID".into();
        changes["azp"] = subject.sign_in.client_id.as_str().into();
        changes["groups"] = Value::Null;
        changes["amr"] = Value::Null;
        changes
    },
    access_token: |subject| {
        let mut changes = roles(subject);
        changes["typ"] = "Bearer".into();
        changes["azp"] = subject.sign_in.client_id.as_str().into();
        changes["aud"] = "account".into();
        changes
    },
    user: |_| json!({ "groups": null }),
    ..PLAIN
};

/// The person's groups as realm roles; the first one also as a role of the client.
fn roles(subject: &Subject<'_>) -> Value {
    let groups = &subject.user.groups;
    let client = &subject.sign_in.client_id;
    let first: Vec<_> = groups.iter().take(1).collect();
    json!({
        "realm_access": { "roles": groups },
        "resource_access": { client.as_str(): { "roles": first } },
    })
}
