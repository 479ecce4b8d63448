//! The names of the keys. What one script reads or writes together has one hash tag, and so one slot.

use mintgate_domain::TokenHash;
use mintgate_domain::model::{ExternalIdentity, SessionId, UserId};

/// Into how many sets the ids of all sessions are spread, so that no slot of a cluster has all of them.
pub(crate) const ID_SETS: u8 = 16;

/// A session: a hash.
pub(crate) fn session(id: SessionId) -> String {
    format!("mg:{{{id}}}")
}

/// The mark of what counts once: a text.
pub(crate) fn mark(hash: TokenHash) -> String {
    format!("mg:mark:{}", hash.to_hex())
}

/// An idempotency key, reserved or used: a hash.
pub(crate) fn idempotency(key: TokenHash) -> String {
    format!("mg:idem:{}", key.to_hex())
}

/// What is known of a session that was deleted with its user: a text.
pub(crate) fn deleted(id: SessionId) -> String {
    format!("mg:deleted:{id}")
}

/// The sessions of a user: a sorted set of ids.
pub(crate) fn of_user(user: UserId) -> String {
    format!("mg:user:{user}")
}

/// The sessions that were opened with an identity: a sorted set of ids.
pub(crate) fn of_identity(identity: &ExternalIdentity) -> String {
    let parts = TokenHash::of_parts(&[&identity.issuer, &identity.subject]);
    format!("mg:identity:{}", parts.to_hex())
}

/// The sessions that were opened in a session at a provider: a sorted set of ids.
pub(crate) fn of_upstream_session(issuer: &str, sid: &str) -> String {
    format!("mg:upstream:{}", TokenHash::of_parts(&[issuer, sid]).to_hex())
}

/// One of the sets of all ids: a sorted set.
pub(crate) fn ids(set: u8) -> String {
    format!("mg:ids:{set}")
}

/// The set that has this id.
pub(crate) fn ids_with(id: SessionId) -> String {
    ids(id.as_uuid().as_bytes()[15] % ID_SETS)
}

/// The log of revocations: its state, its entries by position, and by when they are forgotten.
pub(crate) const LOG: [&str; 3] = ["mg:{log}", "mg:{log}:positions", "mg:{log}:forget"];

/// What shows that the engine did not come back empty: a text.
pub(crate) const MARKER: &str = "mg:marker";
