//! The claims of a presented token whose signature has been verified: parsing and checks.

use mintgate_domain::model::{ProviderId, Role, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{VerifiedAccess, VerifiedRefresh};
use serde::Deserialize;
use uuid::Uuid;

use super::TokensConfig;
use super::presented::object;

/// The claims of an access token that we use; others are ignored.
#[derive(Deserialize)]
pub(super) struct ReceivedAccessClaims {
    iss: String,
    aud: Audience,
    sub: String,
    sid: String,
    idp: String,
    roles: Vec<String>,
    /// Missing in a token that is older than the claim.
    #[serde(default)]
    client_id: Option<String>,
    jti: String,
    iat: i64,
    exp: i64,
}

/// The `aud` of a token: one text or several (RFC 7519 §4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// All claims of a refresh token; others are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceivedRefreshClaims {
    iss: String,
    sub: String,
    sid: String,
    #[serde(rename = "gen")]
    generation: u64,
    jti: String,
    iat: i64,
    exp: i64,
}

const NOT_OURS: &str = "its claims do not have the form of ours";
const OTHER_ISSUER: &str = "its \"iss\" is not ours";

impl ReceivedAccessClaims {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, &'static str> {
        object(payload).ok_or(NOT_OURS)
    }

    pub(super) fn check(self, config: &TokensConfig) -> Result<VerifiedAccess, &'static str> {
        if self.iss != config.issuer {
            return Err(OTHER_ISSUER);
        }
        let audience = match self.aud {
            Audience::One(single) => vec![single],
            Audience::Several(several) => several,
        };
        if !audience.iter().any(|each| config.audience.contains(each)) {
            return Err("its \"aud\" is not one of ours");
        }
        Ok(VerifiedAccess {
            subject: UserId::from_uuid(canonical(&self.sub)?),
            session: SessionId::from_uuid(canonical(&self.sid)?),
            provider: ProviderId::new(self.idp),
            roles: self.roles.into_iter().map(Role::new).collect(),
            audience,
            client_id: self.client_id,
            token_id: self.jti,
            issued_at: Timestamp::from_unix(self.iat),
            expires_at: Timestamp::from_unix(self.exp),
        })
    }
}

impl ReceivedRefreshClaims {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, &'static str> {
        object(payload).ok_or(NOT_OURS)
    }

    pub(super) fn check(self, config: &TokensConfig) -> Result<VerifiedRefresh, &'static str> {
        if self.iss != config.issuer {
            return Err(OTHER_ISSUER);
        }
        if self.jti != format!("{}.{}", self.sid, self.generation) {
            return Err(NOT_OURS);
        }
        Ok(VerifiedRefresh {
            subject: UserId::from_uuid(canonical(&self.sub)?),
            session: SessionId::from_uuid(canonical(&self.sid)?),
            generation: self.generation,
            issued_at: Timestamp::from_unix(self.iat),
            expires_at: Timestamp::from_unix(self.exp),
        })
    }
}

/// A UUID in the form in which we write it: with hyphens, lowercase (RFC 9562 §4).
fn canonical(text: &str) -> Result<Uuid, &'static str> {
    let uuid = Uuid::try_parse(text).map_err(|_| NOT_OURS)?;
    let mut buffer = Uuid::encode_buffer();
    if uuid.hyphenated().encode_lower(&mut buffer) == text { Ok(uuid) } else { Err(NOT_OURS) }
}
