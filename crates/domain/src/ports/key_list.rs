//! The signing keys without their private parts, for people who look at them.

use crate::model::{KeyId, KeyUse, Timestamp};

/// A signing key without its private part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The `kid` of the key.
    pub id: KeyId,
    /// Which kind of token the key signs.
    pub key_use: KeyUse,
    /// The key's `alg` (RFC 7518 §3.1); `None` if this version does not know it.
    pub algorithm: Option<&'static str>,
    /// Where the key stands: `next`, `current`, `former` or `unusable`.
    pub state: &'static str,
    /// When the key was made.
    pub created_at: Timestamp,
}

/// Lists the signing keys. It MUST answer at once.
pub trait KeyList: Send + Sync {
    /// Every key that is loaded, by use and number.
    fn list(&self) -> Vec<ListedKey>;
}
