//! The claims of our tokens, serialized to JSON from borrowed domain values.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_domain::model::{
    AccessClaims, ClaimValue, RefreshClaims, Revocation, RevocationStatement, Revoked, Role,
};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The claims that every access token may have; no extra claim may use one of these names.
pub const STANDARD_CLAIMS: [&str; 15] = [
    "iss",
    "sub",
    "aud",
    "client_id",
    "iat",
    "nbf",
    "exp",
    "jti",
    "sid",
    "roles",
    "idp",
    "auth_time",
    "epoch",
    "acr",
    "amr",
];

/// An access token's claims (RFC 9068 §2.2).
pub(crate) struct AccessPayload<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a [String],
    pub(crate) client_id: &'a str,
    pub(crate) claims: &'a AccessClaims<'a>,
}

impl Serialize for AccessPayload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { issuer, audience, client_id, claims } = self;
        let grant = claims.grant;
        let issued_at = claims.issued_at.as_unix();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", issuer)?;
        map.serialize_entry("sub", &format_args!("{}", claims.subject))?;
        match audience {
            [single] => map.serialize_entry("aud", single)?,
            several => map.serialize_entry("aud", several)?,
        }
        map.serialize_entry("client_id", client_id)?;
        map.serialize_entry("iat", &issued_at)?;
        map.serialize_entry("nbf", &issued_at)?;
        map.serialize_entry("exp", &claims.expires_at.as_unix())?;
        map.serialize_entry("jti", &URL_SAFE_NO_PAD.encode(claims.token_id.to_be_bytes()))?;
        map.serialize_entry("sid", &format_args!("{}", claims.session))?;
        map.serialize_entry("roles", &Roles(&grant.roles))?;
        map.serialize_entry("idp", claims.provider.as_str())?;
        map.serialize_entry("auth_time", &grant.auth_time.as_unix())?;
        map.serialize_entry("epoch", &claims.epoch)?;
        if let Some(acr) = &grant.acr {
            map.serialize_entry("acr", acr)?;
        }
        if !grant.amr.is_empty() {
            map.serialize_entry("amr", &grant.amr)?;
        }
        for (name, value) in &grant.extra {
            // The configuration refuses these names, but a session may be older than that rule.
            if !STANDARD_CLAIMS.contains(&name.as_str()) {
                map.serialize_entry(name, &Json(value))?;
            }
        }
        map.end()
    }
}

/// A refresh token's claims. The order of the entries is part of the token's bytes, which must be the
/// same whenever the token is signed again: never change the order.
pub(crate) struct RefreshPayload<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) claims: &'a RefreshClaims<'a>,
}

impl Serialize for RefreshPayload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = self.claims;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", self.issuer)?;
        map.serialize_entry("sub", &format_args!("{}", claims.subject))?;
        map.serialize_entry("sid", &format_args!("{}", claims.session))?;
        map.serialize_entry("gen", &claims.generation)?;
        map.serialize_entry("jti", &format_args!("{}.{}", claims.session, claims.generation))?;
        map.serialize_entry("iat", &claims.issued_at.as_unix())?;
        map.serialize_entry("exp", &claims.expires_at.as_unix())?;
        map.end()
    }
}

/// The claims of a statement about revocations.
pub(crate) struct RevocationsPayload<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) statement: &'a RevocationStatement<'a>,
}

impl Serialize for RevocationsPayload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let RevocationStatement { audience, after, page, issued_at } = self.statement;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", self.issuer)?;
        map.serialize_entry("aud", audience)?;
        map.serialize_entry("iat", &issued_at.as_unix())?;
        map.serialize_entry("after", after.map_or("", |after| after.as_str()))?;
        map.serialize_entry("cursor", page.cursor.as_str())?;
        map.serialize_entry("more", &page.more)?;
        map.serialize_entry("events", &Events(&page.events))?;
        map.end()
    }
}

struct Events<'a>(&'a [Revocation]);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Event))
    }
}

struct Event<'a>(&'a Revocation);

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0.revoked {
            Revoked::Session(session) => {
                map.serialize_entry("sid", &format_args!("{session}"))?;
            }
            Revoked::User { user, epoch } => {
                map.serialize_entry("sub", &format_args!("{user}"))?;
                map.serialize_entry("epoch", &epoch)?;
            }
            Revoked::IssuedBefore(at) => map.serialize_entry("issued_before", &at.as_unix())?,
        }
        map.serialize_entry("forget_after", &self.0.forget_after.as_unix())?;
        map.end()
    }
}

struct Roles<'a>(&'a [Role]);

impl Serialize for Roles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Role::as_str))
    }
}

struct Json<'a>(&'a ClaimValue);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            ClaimValue::Null => serializer.serialize_unit(),
            ClaimValue::Bool(value) => serializer.serialize_bool(*value),
            ClaimValue::Integer(value) => serializer.serialize_i64(*value),
            ClaimValue::Float(value) => serializer.serialize_f64(*value),
            ClaimValue::Text(value) => serializer.serialize_str(value),
            ClaimValue::List(values) => serializer.collect_seq(values.iter().map(Json)),
            ClaimValue::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, Json(value))))
            }
        }
    }
}
