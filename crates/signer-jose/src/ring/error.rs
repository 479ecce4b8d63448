//! Why the ring cannot do what it is asked.

use mintgate_domain::model::{KeyId, KeyUse};
use mintgate_domain::ports::StoreError;

use crate::seal::SealError;
use crate::{Algorithm, KeyError};

/// Why a ring of keys cannot be used or changed. No text of it holds key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// Refresh tokens must be the same bytes each time they are minted.
    #[error("{0} gives another signature each time; refresh tokens need HS256, EdDSA or RS256")]
    NotDeterministic(Algorithm),
    /// One key would make each kind of token pass for the other.
    #[error("access and refresh tokens are signed with one and the same key; give each its own")]
    SameKey,
    /// Two keys under one name cannot be told apart.
    #[error("an access key and a refresh key are both called {0}; give each a \"kid\" of its own")]
    SameKeyId(KeyId),
    /// The key is the configuration's, not the ring's.
    #[error(
        "the {} key is given in the configuration, so it is changed there and not by the ring",
        .0.name()
    )]
    Given(KeyUse),
    /// A kept key cannot be opened.
    #[error("the {} key {number}, {id}, cannot be opened: {source}", .key_use.name())]
    Sealed {
        /// What it signs.
        key_use: KeyUse,
        /// Its place in the order.
        number: u32,
        /// Its `kid`.
        id: KeyId,
        /// Why not.
        source: SealError,
    },
    /// A kept key is not what it was, or not what its record says.
    #[error("the {} key {number}, {id}, cannot be used: {source}", .key_use.name())]
    BadKey {
        /// What it signs.
        key_use: KeyUse,
        /// Its place in the order.
        number: u32,
        /// Its `kid`.
        id: KeyId,
        /// Why not.
        source: KeyError,
    },
    /// A new key could not be made.
    #[error("cannot make a key: {0}")]
    Generate(KeyError),
    /// A new key could not be sealed.
    #[error("cannot seal a new key: {0}")]
    Seal(SealError),
    /// The place where keys are kept failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others were faster each time.
    #[error("others keep changing the signing keys at the same time; try again")]
    Contended,
}
