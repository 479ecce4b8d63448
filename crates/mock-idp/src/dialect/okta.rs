//! Okta, with a custom authorization server.
//!
//! - "Custom Authorization Servers"
//!   <https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS>: the issuer
//!   `https://DOMAIN/oauth2/ID` (`default` is made for every organisation), the addresses under
//!   `/v1`, access tokens that are JWTs.
//! - "Customize tokens returned from Okta with a groups claim"
//!   <https://developer.okta.com/docs/guides/customize-tokens-groups-claim/main/>: `groups` comes
//!   from a claim of the server, with a filter ("starts with" here).
//! - "OpenID Connect & OAuth 2.0 API" <https://developer.okta.com/docs/reference/api/oidc/>: ID
//!   tokens that come with an access token may leave claims to userinfo; `ver` and `idp`.

use serde_json::{Value, json};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::Refusal;

pub(super) static TRAITS: Traits = Traits {
    name: "okta",
    issuer_path: "/oauth2/default",
    jwks: Some("~/v1/keys"),
    authorize: "~/v1/authorize",
    token: "~/v1/token",
    userinfo: Some("~/v1/userinfo"),
    response_modes: &["query", "fragment", "form_post"],
    iss_parameter: false,
    refresh: Refresh { when: RefreshWhen::OnScope, reuse: Reuse::Keep },
    errors: &[
        (
            Refusal::Client,
            401,
            "invalid_client",
            "The client secret supplied for a confidential client is invalid.",
        ),
        (
            Refusal::RedirectUri,
            400,
            "invalid_grant",
            "The redirect URI does not match the one used in the authorization request.",
        ),
        (Refusal::Verifier, 400, "invalid_grant", "PKCE verification failed."),
        (Refusal::Code, 400, "invalid_grant", "The authorization code is invalid or has expired."),
        (Refusal::RefreshToken, 400, "invalid_grant", "The refresh token is invalid or expired."),
    ],
    id_token: |subject| {
        let mut changes = json!({
            "ver": 1,
            "idp": "00omockorg",
            "acr": null,
            "groups": groups(subject),
        });
        if subject.shared.config.options.thin_id_tokens {
            changes["email"] = Value::Null;
            changes["email_verified"] = Value::Null;
            changes["groups"] = Value::Null;
        }
        changes
    },
    access_token: |subject| {
        let groups = groups(subject);
        json!({ "ver": 1, "cid": subject.sign_in.client_id, "aud": "api://default", "groups": groups })
    },
    user: |subject| json!({ "groups": groups(subject) }),
    backchannel_logout: false,
    ..PLAIN
};

fn groups(subject: &Subject<'_>) -> Value {
    let prefix = subject.shared.config.options.groups_prefix.as_deref().unwrap_or_default();
    subject.user.groups.iter().filter(|group| group.starts_with(prefix)).cloned().collect()
}
