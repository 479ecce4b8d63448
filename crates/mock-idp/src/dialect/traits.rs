//! The ways in which dialects differ.

use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, HttpResponseBuilder, http::header::HeaderMap};
use serde_json::{Map, Value};

use crate::faults::merge;
use crate::refusal::Wording;
use crate::shared::Shared;
use crate::{ClientAuth, MockUser, SignIn};

pub(crate) type Claims = Map<String, Value>;

/// How a dialect differs from plain OpenID Connect. A path that begins with `~` is relative to the
/// issuer, any other path to the issuer's origin; `{tenant}` stands for any segment.
pub(crate) struct Traits {
    pub name: &'static str,
    /// The path of the issuer, unless the configuration gives an issuer.
    pub issuer_path: &'static str,
    /// The path of the discovery document, if there is one.
    pub discovery: Option<&'static str>,
    pub jwks: Option<&'static str>,
    pub authorize: &'static str,
    pub token: &'static str,
    pub userinfo: Option<&'static str>,
    /// The path where people sign out (OIDC RP-Initiated Logout), if there is one.
    pub end_session: Option<&'static str>,
    /// Adds the endpoints that only this dialect has.
    pub more_routes: fn(&mut ServiceConfig),
    /// Changes to the discovery document of a tenant.
    pub document: fn(&Shared, &str) -> Value,
    /// Changes to the members of each published key.
    pub jwk: fn(&Shared) -> Value,
    pub scopes: &'static [&'static str],

    pub response_modes: &'static [&'static str],
    /// The scopes that need `response_mode=form_post` (OAuth 2.0 Form Post Response Mode).
    pub form_post_scopes: &'static [&'static str],
    /// Whether the first form posted to a client also has the user's name.
    pub posts_user: bool,
    /// Whether authorization responses carry `iss` (RFC 9207).
    pub iss_parameter: bool,
    /// Whether the tenant in the path admits the user.
    pub admits: fn(&Subject<'_>, &str) -> bool,
    /// Whether this is OAuth 2.0 without OpenID Connect: no ID tokens, and `redirect_uri` and
    /// `response_type` are optional.
    pub bare_oauth2: bool,

    pub client_auth: &'static [ClientAuth],
    /// Whether `client_secret` is a JWT signed by the client.
    pub signed_secrets: bool,
    pub refresh: Refresh,
    /// The errors that the token endpoint answers, in the provider's words.
    pub errors: &'static [Wording],
    pub error_body: fn(&Wording) -> Map<String, Value>,
    /// How the token endpoint encodes its answers.
    pub encode: fn(HttpResponseBuilder, &HeaderMap, &Map<String, Value>) -> HttpResponse,

    /// Changes to the claims of an ID token.
    pub id_token: fn(&Subject<'_>) -> Value,
    /// Changes to the claims of an access token that is a JWT; null for opaque access tokens.
    pub access_token: fn(&Subject<'_>) -> Value,
    /// The beginning of access tokens that are no JWTs.
    pub access_prefix: &'static str,
    /// Changes to the claims of userinfo.
    pub user: fn(&Subject<'_>) -> Value,
    /// The answer of an API in place of userinfo's claims; nulls are kept.
    pub profile: fn(&Subject<'_>) -> Option<Value>,
    /// The only resource that userinfo accepts in an access token.
    pub userinfo_resource: Option<&'static str>,
    /// Whether the provider's API requires the header `User-Agent`.
    pub needs_user_agent: bool,
    /// The body of a 401 answer of the API.
    pub unauthorized: &'static str,
    /// Whether ID tokens carry `sid` and back-channel logout is advertised.
    pub backchannel_logout: bool,
}

/// The rules of refresh tokens: when they are issued, and whether they are rotated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refresh {
    pub when: RefreshWhen,
    pub reuse: Reuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshWhen {
    Never,
    /// For the scope `offline_access` (OIDC Core §11).
    OnScope,
    /// For the parameter `access_type=offline` (Google).
    OnParameter,
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// The token stays valid, and no new one is issued.
    Keep,
    /// The token stays valid, and a new one is issued.
    Renew,
    /// A new token replaces the one that was used.
    Rotate,
}

/// A user who signs in at a client.
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

/// Replaces claims; null removes one. Changes that are not an object change nothing.
pub(crate) fn reshape(claims: &mut Claims, changes: &Value) {
    if let Some(changes) = changes.as_object() {
        merge(claims, changes);
    }
}
