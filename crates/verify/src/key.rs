//! Public keys, and the algorithms that they verify.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1). Mintgate signs with one of them, by default with
/// ES256. There is neither `none` nor HS256: with it, each service could issue tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// EdDSA with Ed25519 (RFC 8037 §3.1).
    EdDsa,
    /// RSA PKCS #1 v1.5 with SHA-256, and a key of 2048 to 8192 bits.
    Rs256,
    /// RSA-PSS with SHA-256, and a key of 2048 to 8192 bits.
    Ps256,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// The name in the header of a token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A public key of a JWKS.
#[derive(Debug)]
pub(crate) struct PublicKey {
    pub(crate) kid: Option<String>,
    /// The algorithm that the JWKS restricts the key to.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    /// A point in uncompressed form (SEC 1 §2.3.3).
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

/// A key as a JWKS has it (RFC 7517 §4). All members are optional, so that an unknown kind of key is skipped.
#[derive(Deserialize)]
pub(crate) struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl PublicKey {
    /// `None` if the key is not one that verifies signatures of an [`Algorithm`].
    pub(crate) fn from_jwk(jwk: Jwk) -> Option<Self> {
        let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.is_none_or(|operations| operations.iter().any(|it| it == "verify"));
        if !signs {
            return None;
        }
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some("P-256")) => Material::P256(point(jwk.x, jwk.y, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(jwk.x, jwk.y, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(decoded(jwk.x, Some(32))?),
            ("RSA", _) => {
                Material::Rsa { modulus: decoded(jwk.n, None)?, exponent: decoded(jwk.e, None)? }
            }
            _ => return None,
        };
        let algorithm = match jwk.alg {
            Some(name) => Some(Algorithm::by_name(&name)?),
            None => None,
        };
        Some(Self { kid: jwk.kid, algorithm, material })
    }

    /// Whether the key is one for this algorithm.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        let kind_fits = match &self.material {
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
            Material::Rsa { .. } => matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256),
        };
        kind_fits && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether this is the signature of the message, for an algorithm that [`fits`](Self::fits).
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let result =
            match &self.material {
                Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature),
                Material::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature),
                Material::Ed25519(key) => {
                    UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
                }
                Material::Rsa { modulus: n, exponent: e } => {
                    let key = RsaPublicKeyComponents { n, e };
                    let scheme = match algorithm {
                        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                        _ => &RSA_PKCS1_2048_8192_SHA256,
                    };
                    key.verify(scheme, message, signature)
                }
            };
        result.is_ok()
    }
}

fn point(x: Option<String>, y: Option<String>, length: usize) -> Option<Vec<u8>> {
    let mut point = vec![4];
    point.extend(decoded(x, Some(length))?);
    point.extend(decoded(y, Some(length))?);
    Some(point)
}

fn decoded(text: Option<String>, length: Option<usize>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    (!bytes.is_empty() && length.is_none_or(|expected| bytes.len() == expected)).then_some(bytes)
}
