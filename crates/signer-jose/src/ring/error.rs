//! How a ring of keys fails.

use mintgate_domain::model::{KeyId, KeyUse};
use mintgate_domain::ports::StoreError;

use crate::seal::SealError;
use crate::{Algorithm, KeyError};

/// Why a ring of keys cannot be used or changed. No text of it holds key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// Refresh tokens MUST be the same bytes each time they are signed.
    #[error("{0} gives another signature each time; refresh tokens need HS256, EdDSA or RS256")]
    NotDeterministic(Algorithm),
    /// A key that signs both kinds of token would let one pass for the other.
    #[error("access and refresh tokens are signed with one and the same key; give each its own")]
    SameKey,
    /// Two keys with one `kid` cannot be told apart.
    #[error("an access key and a refresh key are both called {0}; give each a \"kid\" of its own")]
    SameKeyId(KeyId),
    /// The key is in the configuration, so the ring does not change it.
    #[error(
        "the {} key is given in the configuration, so it is changed there and not by the ring",
        .0.name()
    )]
    Fixed(KeyUse),
    /// A ring without a repository needs fixed keys for both uses.
    #[error("the {} key is not in the configuration, and there is no place to store keys", .0.name())]
    NotStored(KeyUse),
    /// A stored key cannot be opened.
    #[error("the {} key {number}, {id}, cannot be opened{}", .key_use.name(), remedy(.source))]
    Sealed {
        /// The use of the key: access or refresh tokens.
        key_use: KeyUse,
        /// The number of the key among those of its use; 0 for a fixed key.
        number: u32,
        /// The `kid` of the key.
        id: KeyId,
        /// The reason why the key cannot be opened.
        source: SealError,
    },
    /// A stored key is damaged, or is not what its record says.
    #[error("the {} key {number}, {id}, cannot be used", .key_use.name())]
    BadKey {
        /// The use of the key: access or refresh tokens.
        key_use: KeyUse,
        /// The number of the key among those of its use; 0 for a fixed key.
        number: u32,
        /// The `kid` of the key.
        id: KeyId,
        /// The reason why the key cannot be used.
        source: KeyError,
    },
    /// A new key could not be made.
    #[error("a new key cannot be made")]
    Generate(#[source] KeyError),
    /// A new key could not be sealed.
    #[error("a new key cannot be sealed")]
    Seal(#[source] SealError),
    /// The repository of keys, or the store of sessions, failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Other replicas changed the keys first at each attempt.
    #[error("others keep changing the signing keys at the same time; try again")]
    Contended,
}

/// What an operator can do about a key that cannot be opened, if anything.
fn remedy(error: &SealError) -> &'static str {
    match error {
        SealError::OtherKey { .. } => {
            "; put the key-encryption key that it was sealed under into keys.former_encryption_keys, or, if \
             it is lost for good, run `mintgate keys abandon` (what the key signed is then refused)"
        }
        _ => "",
    }
}
