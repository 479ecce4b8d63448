//! A private key that fits its algorithm, with its identifier.

mod jwk;
mod material;
mod pem;

use std::borrow::Cow;
use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::JoseError;
use josekit::jws::{JwsSigner, JwsVerifier};
use mintgate_domain::model::{KeyId, Timestamp};
use mintgate_domain::{Cause, SecretText};
use openssl::error::ErrorStack;
use zeroize::Zeroizing;

use crate::Algorithm;
pub(crate) use jwk::is_proper_key_id;
use material::Material;
pub(crate) use material::PublicParameters;

/// The text whose HMAC under a symmetric key becomes the key's `kid`. No token's signing input can
/// be this text.
const SYMMETRIC_KID_LABEL: &[u8] = b"mintgate symmetric key id";

/// Why a key is not usable. No text of it holds key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key is valid, but for another algorithm.
    #[error("{algorithm} needs {}, and this is {found}; make one with: {}",
        .algorithm.needed_key(), .algorithm.recipe())]
    WrongKind {
        /// The algorithm that the key is configured for.
        algorithm: Algorithm,
        /// The kind of key that was found, in words.
        found: String,
    },
    /// The text is not a private key.
    #[error("the key cannot be read: {reason}; {algorithm} needs {}; make one with: {}",
        .algorithm.needed_key(), .algorithm.recipe())]
    Unreadable {
        /// The algorithm that the key is configured for.
        algorithm: Algorithm,
        /// The fault in the text; never a value of the key.
        reason: Cow<'static, str>,
    },
    /// A stored key is damaged; the text says in which way.
    #[error("the key cannot be read: {0}")]
    Damaged(Cow<'static, str>),
    /// A stored key was made by a version that knows more algorithms than this one.
    #[error("the key's \"alg\" is not one that this version knows")]
    UnknownAlgorithm,
    /// OpenSSL or josekit reports an error.
    #[error("the cryptographic library failed")]
    Library(#[source] Cause),
}

impl From<ErrorStack> for KeyError {
    fn from(error: ErrorStack) -> Self {
        Self::Library(Cause::from_error("OpenSSL reports an error", error))
    }
}

impl From<JoseError> for KeyError {
    fn from(error: JoseError) -> Self {
        Self::Library(Cause::from_error("josekit reports an error", error))
    }
}

/// A private or symmetric key that is ready to sign with one algorithm.
///
/// The JWK members and DER texts that a key is read from are wiped after use, and OpenSSL wipes the
/// key itself. This crate cannot wipe the copies that josekit makes while it reads a key.
pub struct SigningKey {
    algorithm: Algorithm,
    id: KeyId,
    material: Material,
    public: Option<PublicParameters>,
    signer: Box<dyn JwsSigner>,
}

impl SigningKey {
    /// Makes a new key; an RSA key has 3072 bits, a symmetric key 32 bytes.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        Self::new(Material::generate(algorithm)?, None, algorithm)
    }

    /// Reads a private key: PEM (PKCS#8, SEC1, PKCS#1) or a JWK (RFC 7517).
    ///
    /// The `kid` is the JWK's own, or else the key's thumbprint (RFC 7638).
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
                let mac = signer.sign(SYMMETRIC_KID_LABEL)?;
                KeyId::new(URL_SAFE_NO_PAD.encode(mac.get(..16).unwrap_or(&mac)))
            }
        };
        Ok(Self { algorithm, id, material, public, signer })
    }

    /// The algorithm that the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's `kid`: the JWK's own, or else its SHA-256 thumbprint (RFC 7638); for a symmetric
    /// key, 16 bytes of an HMAC under that key, which do not reveal it.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The public half; `None` for a symmetric key.
    pub(crate) fn public(&self) -> Option<&PublicParameters> {
        self.public.as_ref()
    }

    /// Whether both hold the same key material, whatever their `kid` and algorithm.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        match (&self.material, &other.material) {
            (Material::Oct(a), Material::Oct(b)) => a.len() == b.len() && openssl::memcmp::eq(a, b),
            _ => self.public.is_some() && self.public == other.public,
        }
    }

    /// The whole key as a private JWK, with the time it was made as its `iat`.
    pub(crate) fn to_private_jwk(&self, created_at: Timestamp) -> io::Result<Zeroizing<Vec<u8>>> {
        jwk::write(&self.material, self.public.as_ref(), &self.id, self.algorithm, created_at)
    }

    pub(crate) fn signer(&self) -> &dyn JwsSigner {
        &*self.signer
    }

    /// The josekit verifier; `None` for a symmetric key, whose signatures are compared instead.
    pub(crate) fn public_verifier(&self) -> Result<Option<Box<dyn JwsVerifier>>, KeyError> {
        self.material.public_verifier(self.algorithm)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
