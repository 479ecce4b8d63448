//! Signing keys, signed tokens and the published key set: josekit behind the
//! [`TokenSigner`](mintgate_domain::ports::TokenSigner) and
//! [`PublicKeys`](mintgate_domain::ports::PublicKeys) ports.
//!
//! New keys and the names of temporary files draw on OpenSSL's own random generator, which the
//! operating system seeds; the `Entropy` port stays out of it, so no fake can ever make a real key.

mod algorithm;
mod directory;
mod jwks;
mod key;
mod payload;
mod signer;

pub use algorithm::Algorithm;
pub use directory::{KeyDirectory, KeyDirectoryError, KeyRole, StoredKey};
pub use key::{KeyError, SigningKey};
pub use payload::STANDARD_CLAIMS;
pub use signer::{JoseTokenSigner, SignerConfig, SignerError};
