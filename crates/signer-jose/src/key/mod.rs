//! A private key that fits its algorithm, with its identifier.

mod jwk;
mod material;
mod pem;

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jws::{JwsSigner, JwsVerifier};
use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, Timestamp};
use openssl::error::ErrorStack;
use zeroize::Zeroizing;

use crate::Algorithm;
pub(crate) use jwk::is_proper_key_id;
use material::Material;
pub(crate) use material::PublicParameters;

/// What is signed with a symmetric key to name it; no token's signing input can be this text.
const SYMMETRIC_KID_LABEL: &[u8] = b"mintgate symmetric key id";

/// Why a key is not usable. No text of it holds key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key is well-formed and not for this algorithm.
    #[error("{algorithm} needs {}, and this is {found}; make one with: {}",
        .algorithm.needed_key(), .algorithm.recipe())]
    WrongKind {
        /// The configured algorithm.
        algorithm: Algorithm,
        /// The key at hand, in words.
        found: String,
    },
    /// The text is no private key.
    #[error("the key cannot be read: {reason}; {algorithm} needs {}; make one with: {}",
        .algorithm.needed_key(), .algorithm.recipe())]
    Unreadable {
        /// The configured algorithm.
        algorithm: Algorithm,
        /// What is wrong with the text.
        reason: String,
    },
    /// A key that we made and kept is not what it was.
    #[error("the key cannot be read: {0}")]
    Damaged(String),
    /// OpenSSL or josekit failed.
    #[error("the cryptographic library failed: {0}")]
    Library(String),
}

impl From<ErrorStack> for KeyError {
    fn from(error: ErrorStack) -> Self {
        Self::Library(error.to_string())
    }
}

/// A private or symmetric key, ready to sign with one algorithm.
///
/// The JWK members and DER texts it passes through are wiped after use, and OpenSSL wipes what
/// it holds; copies josekit makes while reading a key are outside this crate's reach.
pub struct SigningKey {
    algorithm: Algorithm,
    id: KeyId,
    material: Material,
    public: Option<PublicParameters>,
    signer: Box<dyn JwsSigner>,
}

impl SigningKey {
    /// Makes a new key: RSA of 3072 bits, HMAC of 32 bytes.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        Self::new(Material::generate(algorithm)?, None, algorithm)
    }

    /// Reads a private key: PEM (PKCS#8, SEC1, PKCS#1) or a JWK (RFC 7517).
    ///
    /// The key is called by the JWK's `kid`, else by its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// If the text is not a private key, or the key is not for this algorithm.
    pub fn from_text(text: &SecretText, algorithm: Algorithm) -> Result<Self, KeyError> {
        let text = text.expose().trim();
        if text.starts_with('{') {
            let (material, id) = jwk::read(text, algorithm)?;
            Self::new(material, id, algorithm)
        } else {
            Self::new(pem::read(text, algorithm)?, None, algorithm)
        }
    }

    /// Reads a private JWK that [`to_private_jwk`](Self::to_private_jwk) wrote.
    pub(crate) fn from_own_jwk(text: &SecretText) -> Result<Self, KeyError> {
        let (material, id, algorithm) = jwk::read_own(text.expose())?;
        Self::new(material, Some(id), algorithm)
    }

    fn new(material: Material, id: Option<KeyId>, algorithm: Algorithm) -> Result<Self, KeyError> {
        let signer = material.signer(algorithm)?;
        let public = material.public()?;
        let id = match (id, &public) {
            (Some(id), _) => id,
            (None, Some(public)) => KeyId::new(public.thumbprint()),
            (None, None) => {
                let mac = sign(&*signer, SYMMETRIC_KID_LABEL)?;
                KeyId::new(URL_SAFE_NO_PAD.encode(mac.get(..16).unwrap_or(&mac)))
            }
        };
        Ok(Self { algorithm, id, material, public, signer })
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its `kid`: the JWK's own, else the RFC 7638 SHA-256 thumbprint; for a symmetric key
    /// 16 bytes of an HMAC under it, which tell nobody the key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The public half; `None` for a symmetric key.
    pub(crate) fn public(&self) -> Option<&PublicParameters> {
        self.public.as_ref()
    }

    /// Whether both are the same key, whatever they are called and sign with.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        match (&self.material, &other.material) {
            (Material::Oct(a), Material::Oct(b)) => a.len() == b.len() && openssl::memcmp::eq(a, b),
            _ => self.public.is_some() && self.public == other.public,
        }
    }

    /// The whole key as a private JWK that also says since when there is it.
    pub(crate) fn to_private_jwk(&self, created_at: Timestamp) -> io::Result<Zeroizing<Vec<u8>>> {
        jwk::write(&self.material, self.public.as_ref(), &self.id, self.algorithm, created_at)
    }

    pub(crate) fn signer(&self) -> &dyn JwsSigner {
        &*self.signer
    }

    /// The josekit verifier; `None` for a symmetric key, whose signer verifies.
    pub(crate) fn public_verifier(&self) -> Result<Option<Box<dyn JwsVerifier>>, KeyError> {
        self.material.public_verifier(self.algorithm)
    }
}

/// Signs bytes, with the library's error as text.
fn sign(signer: &dyn JwsSigner, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    signer.sign(message).map_err(|e| KeyError::Library(e.to_string()))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
