//! OpenID Connect as the standards define it; the other dialects are changes to this one.

use actix_web::HttpResponseBuilder;
use serde_json::Value;

use super::{Refresh, RefreshWhen, Reuse, Traits};
use crate::ClientAuth::{ClientSecretBasic, ClientSecretPost, None as Public, PrivateKeyJwt};
use crate::answer::json;
use crate::refusal::standard_body;

pub(super) static TRAITS: Traits = PLAIN;

pub(super) const PLAIN: Traits = Traits {
    name: "plain",
    issuer_path: "",
    discovery: Some("~/.well-known/openid-configuration"),
    jwks: Some("~/jwks"),
    authorize: "~/authorize",
    token: "~/token",
    userinfo: Some("~/userinfo"),
    end_session: Some("~/end-session"),
    more_routes: |_| {},
    document: |_, _| Value::Null,
    jwk: |_| Value::Null,
    scopes: &["openid", "profile", "email", "groups", "offline_access"],
    response_modes: &["query"],
    form_post_scopes: &[],
    posts_user: false,
    iss_parameter: true,
    admits: |_, _| true,
    bare_oauth2: false,
    client_auth: &[ClientSecretBasic, ClientSecretPost, PrivateKeyJwt, Public],
    signed_secrets: false,
    // RFC 9700 §4.14.2: rotated at each use. OIDC Core §11: issued for the scope offline_access.
    refresh: Refresh { when: RefreshWhen::OnScope, reuse: Reuse::Rotate },
    errors: &[],
    error_body: standard_body,
    encode: |builder: HttpResponseBuilder, _, body| json(builder, body),
    id_token: |_| Value::Null,
    access_token: |_| Value::Null,
    access_prefix: "",
    user: |_| Value::Null,
    profile: |_| None,
    userinfo_resource: None,
    needs_user_agent: false,
    unauthorized: "",
    backchannel_logout: true,
};
