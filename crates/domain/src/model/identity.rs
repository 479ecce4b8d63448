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
    /// The id of the identity in URLs: 128 bits of a SHA-256 hash of issuer and subject, so that
    /// subjects do not end up in the logs of proxies.
    pub fn short_name(&self) -> u128 {
        let digest = TokenHash::of_parts(&[&self.issuer, &self.subject]);
        let bytes = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        u128::from_be_bytes(bytes)
    }
}

/// The longest session id of a provider that is stored as it is, in bytes.
const MAX_SID_BYTES: usize = 255;
const DIGEST_PREFIX: &str = "sha256:";

/// How a provider's session id (`sid`, OIDC Back-Channel Logout §2.1) is stored and compared: as it is,
/// or, if it has more than 255 bytes or characters that not every store takes, as `sha256:` and its
/// SHA-256 in hexadecimal.
pub fn stored_sid(sid: &str) -> String {
    let is_plain = sid.len() <= MAX_SID_BYTES
        && !sid.contains(char::is_control)
        && !sid.starts_with(DIGEST_PREFIX);
    if is_plain {
        return sid.to_owned();
    }
    let mut digest = DIGEST_PREFIX.to_owned();
    for byte in TokenHash::of(sid).as_bytes() {
        digest.extend(
            [byte >> 4, byte & 15].map(|half| char::from(b"0123456789abcdef"[usize::from(half)])),
        );
    }
    digest
}

/// An identity that is linked to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The identity at the provider.
    pub identity: ExternalIdentity,
    /// The configured provider that the identity was first used with; shown to people, never
    /// decided by.
    pub provider: ProviderId,
    /// The time since which the identity is linked to the user.
    pub linked_at: Timestamp,
}

/// An identity that a user is to be known by, in addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIdentity {
    /// The identity at the provider.
    pub identity: ExternalIdentity,
    /// The configured provider that proved the identity.
    pub provider: ProviderId,
    /// The time at which the identity is linked.
    pub now: Timestamp,
}

/// The result of a verified sign-in: whom the provider has identified, and its claims about them.
#[derive(Debug, Clone)]
pub struct VerifiedIdentity {
    /// The identity that signed in.
    pub identity: ExternalIdentity,
    /// Every claim of the ID token (and of userinfo where it is asked).
    pub claims: ClaimSet,
    /// The time at which the person authenticated at the provider, if it says so (`auth_time`, OIDC
    /// Core §2).
    pub auth_time: Option<Timestamp>,
    /// The authentication context class reference, `acr` (OIDC Core §2), if the provider gave one.
    pub acr: Option<String>,
    /// The authentication methods references, `amr` (OIDC Core §2); empty if the provider gave
    /// none.
    pub amr: Vec<String>,
    /// The SHA-256 of what the ID token's signature covers (header and payload, RFC 7515 §5.1), and
    /// when it expires. Not of the whole text: some signatures can be rewritten into another valid
    /// one, and the same token must not count as a new one.
    pub id_token: Option<(TokenHash, Timestamp)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_that_no_column_holds_is_stored_as_its_digest() {
        let long = "x".repeat(255);
        assert_eq!(stored_sid(&long), long);
        let stored = stored_sid("abc\0");
        assert_eq!(stored.len(), 71);
        for odd in [&"x".repeat(256), "abc\0", "a\nb", &stored] {
            let digest = stored_sid(odd);
            assert!(digest.starts_with("sha256:") && digest.len() == 71 && digest != *odd, "{odd}");
        }
        assert_ne!(stored_sid(&"x".repeat(256)), stored_sid(&"x".repeat(257)));
    }
}
