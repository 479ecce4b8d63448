//! A signing key as it is kept: what it is for, where it stands, and its private part, sealed or guarded.

use super::{KeyId, Timestamp};
use crate::SecretText;

/// The kind of tokens that a key signs.
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

    /// The name that stores and `mintgate keys` know this use by: `access` or `refresh`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }

    /// The use with this [`name`](Self::name); `None` if there is no such use.
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
    /// The number of the key among the keys of its use, counting from 1.
    pub number: u32,
    /// The `kid` of the key, which the tokens that it signs name.
    pub id: KeyId,
    /// The private part of the key, opaque to whoever keeps it: encrypted in a store, plain in a
    /// directory that only the service can read.
    pub material: SecretText,
    /// The time since which the key is published.
    pub created_at: Timestamp,
    /// The time from which on the key signs; `None` while it is the next key.
    pub activates_at: Option<Timestamp>,
}
