//! GitLab.
//!
//! - "GitLab as OpenID Connect identity provider"
//!   <https://docs.gitlab.com/integration/openid_connect_provider/>: `groups_direct` in the ID token
//!   alone, `groups` (inherited ones too) in userinfo alone, `nickname`, `profile`.
//! - "OAuth 2.0 identity provider API" <https://docs.gitlab.com/api/oauth2/>: the addresses; every
//!   token answer has a refresh token, which takes the place of the one before.

use serde_json::{Value, json};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::ClientAuth::{ClientSecretBasic, ClientSecretPost};
use crate::Refusal;

const INVALID_GRANT: &str = "The provided authorization grant is invalid, expired, revoked, does \
    not match the redirection URI used in the authorization request, or was issued to another \
    client.";

pub(super) static TRAITS: Traits = Traits {
    name: "gitlab",
    jwks: Some("~/oauth/discovery/keys"),
    authorize: "~/oauth/authorize",
    token: "~/oauth/token",
    end_session: None,
    userinfo: Some("~/oauth/userinfo"),
    scopes: &["openid", "profile", "email", "read_user"],
    response_modes: &["query", "fragment", "form_post"],
    iss_parameter: false,
    client_auth: &[ClientSecretBasic, ClientSecretPost],
    refresh: Refresh { when: RefreshWhen::Always, reuse: Reuse::Rotate },
    errors: &[
        (
            Refusal::Client,
            401,
            "invalid_client",
            "Client authentication failed due to unknown client, no client authentication \
             included, or unsupported authentication method.",
        ),
        (Refusal::Code, 400, "invalid_grant", INVALID_GRANT),
        (Refusal::RefreshToken, 400, "invalid_grant", INVALID_GRANT),
    ],
    id_token: |subject| {
        let mut changes = user(subject);
        changes["groups"] = Value::Null;
        changes["groups_direct"] = json!(subject.user.groups);
        changes["amr"] = Value::Null;
        changes["acr"] = Value::Null;
        changes
    },
    user,
    backchannel_logout: false,
    ..PLAIN
};

fn user(subject: &Subject<'_>) -> Value {
    let username = &subject.user.username;
    json!({ "nickname": username, "profile": subject.shared.url(&format!("/{username}"), "") })
}
