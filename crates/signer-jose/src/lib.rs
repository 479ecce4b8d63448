//! Signing keys and tokens with josekit: the adapter behind the ports
//! [`TokenSigner`](mintgate_domain::ports::TokenSigner),
//! [`TokenVerifier`](mintgate_domain::ports::TokenVerifier),
//! [`PublicKeys`](mintgate_domain::ports::PublicKeys) and
//! [`TokenSeal`](mintgate_domain::ports::TokenSeal).
//!
//! [`KeyRing`] makes, rotates and removes the signing keys. All replicas share the keys through a
//! [`KeyRepo`](mintgate_domain::ports::KeyRepo): a database, where the keys are encrypted
//! ([`KeySeal`]), or a [`KeyDirectory`]. [`JoseTokens`] signs and verifies with the keys that the ring
//! has at the moment. [`SealedTokens`] encrypts providers' tokens. By [`Presence`] processes on one store
//! notice that they have different keys.
//!
//! New keys come from OpenSSL's random generator, which the operating system seeds, and not from the
//! `Entropy` port, so that a test's fake can never make a real key.

mod adopt;
mod algorithm;
mod care;
mod directory;
mod jwks;
mod key;
mod operator;
mod payload;
mod presence;
mod resealing;
mod ring;
mod seal;
mod sealed_tokens;
mod tokens;

pub use adopt::{AdoptError, Adopted, adopt};
pub use algorithm::Algorithm;
pub use care::{KeyCare, KeyEvent, KeyRingStatus, key_events};
pub use directory::{KeyDirectory, KeyDirectoryError};
pub use key::{KeyError, SigningKey};
pub use operator::{KeyOrder, KeyOrderError, KeyRefusal, KeyReport, SealingKey, Signs};
pub use payload::STANDARD_CLAIMS;
pub use presence::Presence;
pub use resealing::{Resealing, ResealingError, ResealingPorts, abandon};
pub use ring::{
    AccessTokenType, FixedKeys, KeyChange, KeyInfo, KeyRing, KeyRingConfig, KeyRingError, KeyState,
    RetireOutcome, StoredKeys,
};
pub use seal::{EncryptionKeys, KeyEncryptionKey, KeyEncryptionKeyError, KeySeal, SealError};
pub use sealed_tokens::SealedTokens;
pub use tokens::{JoseTokens, TokensConfig, TokensError};
