//! JSON Web Signatures that we make ourselves (RFC 7515), to authenticate as a client.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::SecretText;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Padding;
use openssl::sha::sha256;
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Map, Value};

/// RFC 7518 §3.3 and §3.5 allow no smaller RSA key.
pub(crate) const MIN_RSA_BITS: u32 = 2048;

/// How a client assertion is signed.
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
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Es256, Self::Rs256, Self::Ps256, Self::EdDsa];

    /// Its JWS name, the `alg` of the header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this JWS name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
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

/// A private key with the one algorithm it is used for.
pub(crate) struct JwsKey {
    pub(crate) key: PKey<Private>,
    algorithm: AssertionAlgorithm,
}

impl JwsKey {
    pub(crate) fn from_pem(
        pem: &SecretText,
        algorithm: AssertionAlgorithm,
    ) -> Result<Self, ClientKeyError> {
        // With a callback that gives no password, so that nobody is asked for one at a terminal.
        let key = PKey::private_key_from_pem_callback(pem.expose().as_bytes(), |_| Ok(0))
            .map_err(|_| ClientKeyError::Unreadable)?;
        let fits = match algorithm {
            AssertionAlgorithm::Es256 => {
                key.ec_key().is_ok_and(|ec| ec.group().curve_name() == Some(Nid::X9_62_PRIME256V1))
            }
            AssertionAlgorithm::Rs256 | AssertionAlgorithm::Ps256 => {
                key.id() == Id::RSA && key.bits() >= MIN_RSA_BITS
            }
            AssertionAlgorithm::EdDsa => key.id() == Id::ED25519,
        };
        if !fits {
            return Err(ClientKeyError::Unfit(algorithm.name()));
        }
        Ok(Self { key, algorithm })
    }

    /// A signed JWT. `alg` is added to the header.
    pub(crate) fn sign(
        &self,
        mut header: Map<String, Value>,
        claims: Map<String, Value>,
    ) -> Result<SecretText, ErrorStack> {
        header.insert("alg".to_owned(), self.algorithm.name().into());
        let [header, claims] = [header, claims]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(Value::Object(part).to_string()));
        let signed = format!("{header}.{claims}");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.signature(signed.as_bytes())?);
        Ok(SecretText::new(format!("{signed}.{signature}")))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let sha256_signer = || Signer::new(MessageDigest::sha256(), &self.key);
        match self.algorithm {
            AssertionAlgorithm::Es256 => {
                // r and s, 32 bytes each, one after the other (RFC 7518 §3.4), not DER.
                let signature = EcdsaSig::sign(&sha256(message), &*self.key.ec_key()?)?;
                let mut raw = signature.r().to_vec_padded(32)?;
                raw.extend(signature.s().to_vec_padded(32)?);
                Ok(raw)
            }
            AssertionAlgorithm::Rs256 => sha256_signer()?.sign_oneshot_to_vec(message),
            AssertionAlgorithm::Ps256 => {
                let mut signer = sha256_signer()?;
                signer.set_rsa_padding(Padding::PKCS1_PSS)?;
                signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                signer.set_rsa_mgf1_md(MessageDigest::sha256())?;
                signer.sign_oneshot_to_vec(message)
            }
            AssertionAlgorithm::EdDsa => {
                Signer::new_without_digest(&self.key)?.sign_oneshot_to_vec(message)
            }
        }
    }
}

impl fmt::Debug for JwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwsKey({}, [redacted])", self.algorithm.name())
    }
}
