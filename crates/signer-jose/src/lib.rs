//! The ring of signing keys, our tokens signed and verified, and the published key set: josekit
//! behind the [`TokenSigner`](mintgate_domain::ports::TokenSigner),
//! [`TokenVerifier`](mintgate_domain::ports::TokenVerifier) and
//! [`PublicKeys`](mintgate_domain::ports::PublicKeys) ports.
//!
//! [`KeyRing`] looks after the keys, which all replicas share through a
//! [`KeyRepo`](mintgate_domain::ports::KeyRepo): a database, where they are sealed ([`KeySeal`]), or a
//! [`KeyDirectory`]. [`JoseTokens`] signs and verifies with whatever the ring holds at the moment.
//!
//! [`SealedTokens`] keeps providers' refresh tokens in the same way as the store keeps keys, behind the
//! [`TokenSeal`](mintgate_domain::ports::TokenSeal) port.
//!
//! New keys and the names of temporary files draw on OpenSSL's own random generator, which the
//! operating system seeds; the `Entropy` port stays out of it, so no fake can ever make a real key.

mod algorithm;
mod directory;
mod jwks;
mod key;
mod payload;
mod ring;
mod seal;
mod sealed_tokens;
mod tokens;

pub use algorithm::Algorithm;
pub use directory::{KeyDirectory, KeyDirectoryError};
pub use key::{KeyError, SigningKey};
pub use payload::STANDARD_CLAIMS;
pub use ring::{
    FixedKeys, KeyChange, KeyInfo, KeyRing, KeyRingConfig, KeyRingError, KeyState, RetireOutcome,
};
pub use seal::{KeyEncryptionKey, KeyEncryptionKeyError, KeySeal, SealError};
pub use sealed_tokens::SealedTokens;
pub use tokens::{JoseTokens, TokensConfig, TokensError};
