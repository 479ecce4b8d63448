//! Who a provider says has signed in.

use super::{ClaimSet, Timestamp};
use crate::TokenHash;

/// A person as a provider knows them: (issuer, subject), never an email (OIDC Core §5.7).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExternalIdentity {
    /// The provider's issuer identifier, exactly as it is in the ID token.
    pub issuer: String,
    /// The subject identifier at that issuer; case-sensitive, at most 255 bytes.
    pub subject: String,
}

/// What a provider adapter has proven about a sign-in.
#[derive(Debug, Clone)]
pub struct VerifiedIdentity {
    /// Who signed in.
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
