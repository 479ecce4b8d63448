//! A signing key as it is kept: what it is for, where it stands, and its private part, sealed or guarded.

use super::{KeyId, Timestamp};
use crate::SecretText;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyUse {
    /// The key signs access tokens.
    Access,
    /// The key signs refresh tokens.
    Refresh,
}

impl KeyUse {
    /// Both uses of a key.
    pub const ALL: [Self; 2] = [Self::Access, Self::Refresh];

    /// The name it is stored under.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }

    /// The use of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key_use| key_use.name() == name)
    }
}

/// A signing key of the ring.
///
/// The keys of one use are numbered from 1. The one that signs is the highest-numbered that is
/// active; those below it are former, the one above it is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The kind of token that the key signs.
    pub key_use: KeyUse,
    /// Its place in the order.
    pub number: u32,
    /// The `kid` of the tokens it signs.
    pub id: KeyId,
    /// Its private part: opaque to whoever keeps it. Sealed, unless it is kept in a guarded directory.
    pub material: SecretText,
    /// Since when it is published.
    pub created_at: Timestamp,
    /// From when on it signs; `None` as long as it stands by.
    pub activates_at: Option<Timestamp>,
}
