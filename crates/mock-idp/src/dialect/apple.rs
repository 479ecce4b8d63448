//! Sign in with Apple.
//!
//! - "Creating a client secret"
//!   <https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret>:
//!   `client_secret` is a JWT in ES256 with `kid`; `iss` is the team, `sub` the client, `aud`
//!   `https://appleid.apple.com`, and `exp` at most 15,777,000 seconds (six months) away.
//! - "Request an authorization to the Sign in with Apple server"
//!   <https://developer.apple.com/documentation/signinwithapplerestapi/request-an-authorization-to-the-sign-in-with-apple-server.>:
//!   with the scope `name` or `email`, `response_mode` must be `form_post`; the answer brings `user`
//!   the first time somebody signs in to an application, and never again.
//! - "Authenticating users with Sign in with Apple"
//!   <https://developer.apple.com/documentation/signinwithapple/authenticating-users-with-sign-in-with-apple>:
//!   `email_verified` and `is_private_email` are a string or a boolean; `nonce_supported`; no name.
//! - "TN3107: Resolving Sign in with Apple response errors"
//!   <https://developer.apple.com/documentation/technotes/tn3107-resolving-sign-in-with-apple-response-errors>:
//!   errors under HTTP 400, `invalid_client` for a secret that is wrong or has expired.

use serde_json::{Value, json};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::ClientAuth::ClientSecretPost;
use crate::Refusal;

pub(super) static TRAITS: Traits = Traits {
    name: "apple",
    jwks: Some("~/auth/keys"),
    authorize: "~/auth/authorize",
    token: "~/auth/token",
    end_session: None,
    userinfo: None,
    scopes: &["openid", "email", "name"],
    response_modes: &["query", "fragment", "form_post"],
    form_post_scopes: &["name", "email"],
    posts_user: true,
    iss_parameter: false,
    client_auth: &[ClientSecretPost],
    signed_secrets: true,
    refresh: Refresh { when: RefreshWhen::Always, reuse: Reuse::Keep },
    errors: &[
        (Refusal::Client, 400, "invalid_client", ""),
        (Refusal::Code, 400, "invalid_grant", "The code has expired or has been revoked."),
        (Refusal::UsedCode, 400, "invalid_grant", "The code has already been used."),
        (Refusal::RefreshToken, 400, "invalid_grant", "The token has been revoked."),
    ],
    id_token: |subject| {
        let user = subject.user;
        let private = user.email.ends_with("@privaterelay.appleid.com");
        json!({
            "name": null, "preferred_username": null, "groups": null, "amr": null, "acr": null,
            "email_verified": flag(subject, user.email_verified),
            "is_private_email": if private { flag(subject, true) } else { Value::Null },
            "nonce_supported": true,
        })
    },
    backchannel_logout: false,
    ..PLAIN
};

fn flag(subject: &Subject<'_>, value: bool) -> Value {
    if subject.shared.config.options.flags_as_text {
        value.to_string().into()
    } else {
        value.into()
    }
}
