//! What our tokens say.

use super::{AccessGrant, KeyId, ProviderId, SessionId, Timestamp, UserId};

/// The claims of an access token (RFC 9068 §2.2), besides `iss` and `aud`,
/// which the signer knows once and for all.
#[derive(Debug, Clone)]
pub struct AccessClaims<'a> {
    /// The `sub` claim: the user.
    pub subject: UserId,
    /// The `sid` claim: the session.
    pub session: SessionId,
    /// The `jti` claim: 128 random bits.
    pub token_id: u128,
    /// The `idp` claim: the configured provider.
    pub provider: &'a ProviderId,
    /// The `epoch` claim: the session epoch of the user that the session was opened with.
    pub epoch: u64,
    /// The claims `roles`, `auth_time`, `acr` and `amr`, and the extra claims.
    pub grant: &'a AccessGrant,
    /// The `iat` claim, and the `nbf` claim.
    pub issued_at: Timestamp,
    /// The `exp` claim.
    pub expires_at: Timestamp,
}

impl AccessClaims<'_> {
    /// The name and approximate JSON length in bytes of the claim that takes most room.
    pub fn largest(&self) -> (&str, usize) {
        let roles = self.grant.roles.iter().map(|r| r.as_str().len() + 3).sum();
        let amr = self.grant.amr.iter().map(|m| m.len() + 3).sum();
        let acr = self.grant.acr.as_ref().map_or(0, String::len);
        let extra = self.grant.extra.iter();
        [("roles", roles), ("amr", amr), ("acr", acr)]
            .into_iter()
            .chain(extra.map(|(name, value)| (name.as_str(), value.approximate_len())))
            .max_by_key(|(_, len)| *len)
            .unwrap_or(("roles", roles))
    }
}

/// The claims of a refresh token, besides `iss`. Its `jti` is `sid.gen`:
/// equal claims always give equal bytes.
#[derive(Debug, Clone)]
pub struct RefreshClaims<'a> {
    /// The `sub` claim: the user.
    pub subject: UserId,
    /// The `sid` claim: the session.
    pub session: SessionId,
    /// The `gen` claim: the generation.
    pub generation: u64,
    /// The `kid` of the key to sign with.
    pub key_id: &'a KeyId,
    /// The `iat` claim.
    pub issued_at: Timestamp,
    /// The `exp` claim.
    pub expires_at: Timestamp,
}
