//! Who a provider says has signed in.

use super::{ClaimSet, ProviderId, Timestamp};
use crate::TokenHash;

/// A person as a provider knows them: (issuer, subject), never an email (OIDC Core §5.7).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExternalIdentity {
    /// The provider's issuer identifier, exactly as it is in the ID token.
    pub issuer: String,
    /// The subject identifier at that issuer; case-sensitive, at most 255 bytes.
    pub subject: String,
}

impl ExternalIdentity {
    /// What an identity is called where it has to be named in a URL: 128 bits of a digest, so that an
    /// issuer's subjects do not end up in logs of proxies.
    pub fn short_name(&self) -> u128 {
        let digest = TokenHash::of_parts(&[&self.issuer, &self.subject]);
        let bytes = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        u128::from_be_bytes(bytes)
    }
}

/// An identity a user is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The identity.
    pub identity: ExternalIdentity,
    /// The configured provider it was first used with; for people to read.
    pub provider: ProviderId,
    /// Since when it is this user's.
    pub linked_at: Timestamp,
}

/// An identity that a user is to be known by, in addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIdentity {
    /// The identity.
    pub identity: ExternalIdentity,
    /// The configured provider it was proven with.
    pub provider: ProviderId,
    /// The time of the linking.
    pub now: Timestamp,
}

/// What a provider adapter has proven about a sign-in.
#[derive(Debug, Clone)]
pub struct VerifiedIdentity {
    /// The identity that signed in.
    pub identity: ExternalIdentity,
    /// Every claim of the ID token (and of userinfo where it is asked).
    pub claims: ClaimSet,
    /// When the person authenticated at the provider, if it says so.
    pub auth_time: Option<Timestamp>,
    /// Authentication context class reference, if given.
    pub acr: Option<String>,
    /// Authentication methods references; empty if not given.
    pub amr: Vec<String>,
    /// The SHA-256 of what the ID token's signature covers (header and payload, RFC 7515 §5.1), and
    /// when it expires. Not of the whole text: some signatures can be rewritten into another valid
    /// one, and the same token must not count as a new one.
    pub id_token: Option<(TokenHash, Timestamp)>,
}
