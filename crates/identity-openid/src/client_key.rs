//! The private keys with which we authenticate as a client, and the JWTs they sign (RFC 7515).

use std::fmt;

use josekit::JoseError;
use josekit::jws::{ES256, EdDSA, JwsHeader, JwsSigner, PS256, RS256};
use mintgate_domain::SecretText;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, Private};
use serde_json::Value;

/// The smallest RSA key that RFC 7518 §3.3 and §3.5 allow.
pub(crate) const MIN_RSA_BITS: u32 = 2048;

/// The signature algorithm of a client assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssertionAlgorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
    /// RSASSA-PSS with SHA-256 (RFC 7518 §3.5).
    Ps256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
}

impl AssertionAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Es256, Self::Rs256, Self::Ps256, Self::EdDsa];

    /// The name in the header parameter `alg` (RFC 7515 §4.1.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Why a key cannot sign what it is configured for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientKeyError {
    /// The text holds no private key.
    #[error(
        "the client key is no private key in PEM (PKCS#8, SEC 1 or PKCS#1), without a password"
    )]
    Unreadable,
    /// The key is of another kind than the algorithm.
    #[error(
        "the client key does not fit {0}: ES256 takes a P-256 key, RS256 and PS256 an RSA key of at least 2048 bits, EdDSA an Ed25519 key"
    )]
    Unfit(&'static str),
    /// The certificate cannot be read, or is another key's.
    #[error("the client certificate is no certificate of the client key in PEM")]
    Certificate,
    /// The lifetime is not one that Apple accepts.
    #[error("the client secret must live between 1 minute and 180 days")]
    Lifetime,
}

/// A private key with the one algorithm that it signs with.
pub(crate) struct ClientKey {
    key: PKey<Private>,
    algorithm: AssertionAlgorithm,
    signer: Box<dyn JwsSigner>,
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.belongs_to(&other.key)
    }
}

impl Eq for ClientKey {}

impl ClientKey {
    /// Reads a private key in PEM: PKCS#8, SEC 1 or PKCS#1.
    pub(crate) fn from_pem(
        pem: &SecretText,
        algorithm: AssertionAlgorithm,
    ) -> Result<Self, ClientKeyError> {
        // OpenSSL would ask for a password at the terminal; the callback gives it none.
        let key = PKey::private_key_from_pem_callback(pem.expose().as_bytes(), |_| Ok(0))
            .map_err(|_| ClientKeyError::Unreadable)?;
        let signer = signer(&key, algorithm).ok_or(ClientKeyError::Unfit(algorithm.name()))?;
        Ok(Self { key, algorithm, signer })
    }

    /// Whether this is the private half of a public key.
    pub(crate) fn belongs_to(&self, public: &PKey<impl HasPublic>) -> bool {
        public.public_eq(&self.key)
    }

    /// Signs a JWT. `alg` is added to the header.
    pub(crate) fn sign(&self, header: &JwsHeader, claims: &Value) -> Result<SecretText, JoseError> {
        let payload = claims.to_string();
        josekit::jws::serialize_compact(payload.as_bytes(), header, &*self.signer)
            .map(SecretText::new)
    }
}

/// josekit's signer for a key, if the key fits the algorithm. josekit accepts keys that the algorithm
/// forbids, so the kind of the key is checked first.
fn signer(key: &PKey<Private>, algorithm: AssertionAlgorithm) -> Option<Box<dyn JwsSigner>> {
    let is_p256 =
        || key.ec_key().is_ok_and(|ec| ec.group().curve_name() == Some(Nid::X9_62_PRIME256V1));
    let is_rsa = || key.id() == Id::RSA && key.bits() >= MIN_RSA_BITS;
    let pkcs1 = || key.rsa().and_then(|rsa| rsa.private_key_to_der()).ok();
    let pkcs8 = || key.private_key_to_pkcs8().ok();
    Some(match algorithm {
        AssertionAlgorithm::Es256 if is_p256() => Box::new(ES256.signer_from_der(pkcs8()?).ok()?),
        AssertionAlgorithm::Rs256 if is_rsa() => Box::new(RS256.signer_from_der(pkcs1()?).ok()?),
        AssertionAlgorithm::Ps256 if is_rsa() => Box::new(PS256.signer_from_der(pkcs1()?).ok()?),
        AssertionAlgorithm::EdDsa if key.id() == Id::ED25519 => {
            Box::new(EdDSA.signer_from_der(pkcs8()?).ok()?)
        }
        AssertionAlgorithm::Es256
        | AssertionAlgorithm::Rs256
        | AssertionAlgorithm::Ps256
        | AssertionAlgorithm::EdDsa => return None,
    })
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({}, [redacted])", self.algorithm.name())
    }
}
