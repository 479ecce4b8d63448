//! Amazon Cognito user pools.
//!
//! - "Understanding the identity (ID) token"
//!   <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html>:
//!   `cognito:groups`, `cognito:username`, `token_use`, the issuer with region and pool.
//! - "Understanding the access token"
//!   <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>:
//!   `token_use` is `access`, there is `client_id` and no `aud`.
//! - "The token issuer endpoint"
//!   <https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html>: the endpoints
//!   are on the pool's domain and not under the issuer; errors have no description.
//! - "The user attributes endpoint"
//!   <https://docs.aws.amazon.com/cognito/latest/developerguide/userinfo-endpoint.html>:
//!   `email_verified` is text there, and groups are not among the attributes.

use serde_json::json;

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Traits};
use crate::ClientAuth::{ClientSecretBasic, ClientSecretPost, None as Public};
use crate::Refusal;

pub(super) static TRAITS: Traits = Traits {
    name: "cognito",
    issuer_path: "/eu-central-1_mockpool1",
    jwks: Some("~/.well-known/jwks.json"),
    authorize: "/oauth2/authorize",
    token: "/oauth2/token",
    userinfo: Some("/oauth2/userInfo"),
    scopes: &["openid", "email", "phone", "profile"],
    iss_parameter: false,
    client_auth: &[ClientSecretBasic, ClientSecretPost, Public],
    refresh: Refresh { when: RefreshWhen::Always, reuse: Reuse::Keep },
    errors: &[
        (Refusal::Client, 400, "invalid_client", ""),
        (Refusal::Code, 400, "invalid_grant", ""),
        (Refusal::RefreshToken, 400, "invalid_grant", ""),
    ],
    id_token: |subject| {
        json!({
            "groups": null, "preferred_username": null, "amr": null, "acr": null,
            "cognito:groups": subject.user.groups,
            "cognito:username": subject.user.username,
            "token_use": "id",
        })
    },
    access_token: |subject| {
        json!({
            "aud": null,
            "cognito:groups": subject.user.groups,
            "username": subject.user.username,
            "token_use": "access",
        })
    },
    user: |subject| {
        json!({
            "groups": null,
            "preferred_username": null,
            "username": subject.user.username,
            "email_verified": subject.user.email_verified.to_string(),
        })
    },
    backchannel_logout: false,
    ..PLAIN
};
