//! What dialects differ in.

use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, HttpResponseBuilder, http::header::HeaderMap};
use serde_json::{Map, Value};

use crate::faults::merge;
use crate::refusal::Wording;
use crate::shared::Shared;
use crate::{ClientAuth, MockUser, SignIn};

pub(crate) type Claims = Map<String, Value>;

/// The differences of a dialect. A path that begins with `~` is under the issuer, another one under
/// the issuer's origin; `{tenant}` in it stands for any segment.
pub(crate) struct Traits {
    pub name: &'static str,
    /// The path of the issuer, unless the config gives one.
    pub issuer_path: &'static str,
    /// None if there is no discovery document.
    pub discovery: Option<&'static str>,
    pub jwks: Option<&'static str>,
    pub authorize: &'static str,
    pub token: &'static str,
    pub userinfo: Option<&'static str>,
    /// Endpoints that only this dialect has.
    pub more_routes: fn(&mut ServiceConfig),
    /// Changes to the discovery document asked for under a tenant.
    pub document: fn(&Shared, &str) -> Value,
    /// Changes to each published key.
    pub jwk: fn(&Shared) -> Value,
    pub scopes: &'static [&'static str],

    pub response_modes: &'static [&'static str],
    /// Scopes that are only given by `form_post`.
    pub form_post_scopes: &'static [&'static str],
    /// Whether a form also brings the person's name, the first time.
    pub posts_user: bool,
    /// Whether authorization responses carry `iss` (RFC 9207).
    pub iss_parameter: bool,
    /// Whether the tenant in the path lets this person in.
    pub admits: fn(&Subject<'_>, &str) -> bool,
    /// OAuth 2.0 without OpenID Connect: no ID tokens; `redirect_uri` and `response_type` may be
    /// left out.
    pub bare_oauth2: bool,

    pub client_auth: &'static [ClientAuth],
    /// Whether `client_secret` is a JWT signed by the client.
    pub signed_secrets: bool,
    pub refresh: Refresh,
    /// The dialect's words for refusals.
    pub errors: &'static [Wording],
    pub error_body: fn(&Wording) -> Map<String, Value>,
    /// How the token endpoint writes its answers.
    pub encode: fn(HttpResponseBuilder, &HeaderMap, &Map<String, Value>) -> HttpResponse,

    /// Changes to an ID token's claims.
    pub id_token: fn(&Subject<'_>) -> Value,
    /// Changes to the claims of an access token that is a JWT; null if it is opaque.
    pub access_token: fn(&Subject<'_>) -> Value,
    /// What opaque access tokens begin with.
    pub access_prefix: &'static str,
    /// Changes to what userinfo says.
    pub user: fn(&Subject<'_>) -> Value,
    /// What an API says instead of userinfo's claims, with nulls as they are.
    pub profile: fn(&Subject<'_>) -> Option<Value>,
    /// The one resource that access tokens for userinfo may be for.
    pub userinfo_resource: Option<&'static str>,
    /// Whether the API wants a `User-Agent`.
    pub needs_user_agent: bool,
    /// The body of a 401 of the API.
    pub unauthorized: &'static str,
    /// Whether ID tokens carry `sid`, and logout tokens are sent.
    pub backchannel_logout: bool,
}

/// When refresh tokens are given out, and what becomes of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refresh {
    pub when: RefreshWhen,
    pub reuse: Reuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshWhen {
    Never,
    /// With the scope `offline_access`.
    OnScope,
    /// With the parameter `access_type=offline`.
    OnParameter,
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// The token stays, and no other is given.
    Keep,
    /// The token stays good beside the new one.
    Renew,
    /// The new one takes its place.
    Rotate,
}

/// Somebody at a client.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub shared: &'a Shared,
    pub user: &'a MockUser,
    pub sign_in: &'a SignIn,
}

impl Refresh {
    pub(crate) fn is_due(self, sign_in: &SignIn) -> bool {
        match self.when {
            RefreshWhen::Never => false,
            RefreshWhen::OnScope => sign_in.has_scope("offline_access"),
            RefreshWhen::OnParameter => sign_in.offline,
            RefreshWhen::Always => true,
        }
    }
}

/// Changes claims, member by member; null removes one. Changes that are no object change nothing.
pub(crate) fn reshape(claims: &mut Claims, changes: &Value) {
    if let Some(changes) = changes.as_object() {
        merge(claims, changes);
    }
}
