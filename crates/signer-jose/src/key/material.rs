//! The key material, and the josekit signers and verifiers made from it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::JoseError;
use josekit::jws::{self, JwsSigner, JwsVerifier};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use zeroize::Zeroizing;

use super::KeyError;
use crate::Algorithm;

const MIN_RSA_BITS: i32 = 2048;
const NEW_RSA_BITS: u32 = 3072;
/// An HMAC key is at least as long as its hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// An elliptic curve of a supported algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

impl Curve {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::P256, Self::P384].into_iter().find(|curve| curve.name() == name)
    }

    fn from_nid(nid: Nid) -> Option<Self> {
        [Self::P256, Self::P384].into_iter().find(|curve| curve.nid() == nid)
    }

    /// The `crv` of a JWK (RFC 7518 §6.2.1.1).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    fn nid(self) -> Nid {
        match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
        }
    }

    /// The length of a coordinate and of the private number, in bytes.
    pub(super) fn field_bytes(self) -> i32 {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    pub(super) fn group(self) -> Result<EcGroup, ErrorStack> {
        EcGroup::from_curve_name(self.nid())
    }
}

/// A private or symmetric key, by its kind.
pub(super) enum Material {
    Ec(Curve, EcKey<Private>),
    Ed25519(PKey<Private>),
    Rsa(Rsa<Private>),
    Oct(Zeroizing<Vec<u8>>),
}

impl Material {
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, ErrorStack> {
        let ec = |curve: Curve| Ok(Self::Ec(curve, EcKey::generate(&*curve.group()?)?));
        match algorithm {
            Algorithm::Es256 => ec(Curve::P256),
            Algorithm::Es384 => ec(Curve::P384),
            Algorithm::EdDsa => Ok(Self::Ed25519(PKey::generate_ed25519()?)),
            Algorithm::Rs256 | Algorithm::Ps256 => Ok(Self::Rsa(Rsa::generate(NEW_RSA_BITS)?)),
            Algorithm::Hs256 => {
                let mut secret = Zeroizing::new(vec![0; MIN_SECRET_BYTES]);
                openssl::rand::rand_priv_bytes(&mut secret)?;
                Ok(Self::Oct(secret))
            }
        }
    }

    /// `None` if the key is on a curve of no supported algorithm.
    pub(super) fn from_ec(key: EcKey<Private>) -> Option<Self> {
        let curve = key.group().curve_name().and_then(Curve::from_nid)?;
        Some(Self::Ec(curve, key))
    }

    /// The josekit signer for this algorithm.
    ///
    /// # Errors
    /// If the key is not for this algorithm.
    pub(super) fn signer(&self, algorithm: Algorithm) -> Result<Box<dyn JwsSigner>, KeyError> {
        let signer = match (self, algorithm) {
            (Self::Ec(Curve::P256, key), Algorithm::Es256) => {
                boxed(jws::ES256.signer_from_der(pkcs8(&PKey::from_ec_key(key.clone())?)?))
            }
            (Self::Ec(Curve::P384, key), Algorithm::Es384) => {
                boxed(jws::ES384.signer_from_der(pkcs8(&PKey::from_ec_key(key.clone())?)?))
            }
            (Self::Ed25519(pair), Algorithm::EdDsa) => {
                boxed(jws::EdDSA.signer_from_der(pkcs8(pair)?))
            }
            (Self::Rsa(key), Algorithm::Rs256) if key.n().num_bits() >= MIN_RSA_BITS => {
                boxed(jws::RS256.signer_from_der(pkcs8(&PKey::from_rsa(key.clone())?)?))
            }
            (Self::Rsa(key), Algorithm::Ps256) if key.n().num_bits() >= MIN_RSA_BITS => {
                boxed(jws::PS256.signer_from_der(pkcs8(&PKey::from_rsa(key.clone())?)?))
            }
            (Self::Oct(secret), Algorithm::Hs256) if secret.len() >= MIN_SECRET_BYTES => {
                boxed(jws::HS256.signer_from_bytes(secret))
            }
            _ => return Err(KeyError::WrongKind { algorithm, found: self.describe() }),
        };
        Ok(signer?)
    }

    /// The josekit verifier of the public half; `None` for a symmetric key.
    ///
    /// josekit's own HMAC verifier is not used, because it does not compare in constant time.
    pub(super) fn public_verifier(
        &self,
        algorithm: Algorithm,
    ) -> Result<Option<Box<dyn JwsVerifier>>, KeyError> {
        fn boxed<V: JwsVerifier + 'static>(
            verifier: Result<V, JoseError>,
        ) -> Result<Box<dyn JwsVerifier>, JoseError> {
            verifier.map(|verifier| Box::new(verifier) as Box<dyn JwsVerifier>)
        }
        let der = match self {
            Self::Ec(_, key) => PKey::from_ec_key(key.clone())?.public_key_to_der()?,
            Self::Ed25519(pair) => pair.public_key_to_der()?,
            Self::Rsa(key) => PKey::from_rsa(key.clone())?.public_key_to_der()?,
            Self::Oct(_) => return Ok(None),
        };
        let verifier = match algorithm {
            Algorithm::Es256 => boxed(jws::ES256.verifier_from_der(der)),
            Algorithm::Es384 => boxed(jws::ES384.verifier_from_der(der)),
            Algorithm::EdDsa => boxed(jws::EdDSA.verifier_from_der(der)),
            Algorithm::Rs256 => boxed(jws::RS256.verifier_from_der(der)),
            Algorithm::Ps256 => boxed(jws::PS256.verifier_from_der(der)),
            Algorithm::Hs256 => return Ok(None),
        };
        Ok(Some(verifier?))
    }

    /// The kind of key, in words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Ec(curve, _) => format!("an EC key on {}", curve.name()),
            Self::Ed25519(_) => "an Ed25519 key".to_owned(),
            Self::Rsa(key) => format!("an RSA key of {} bits", key.n().num_bits()),
            Self::Oct(secret) => format!("a symmetric key of {} bytes", secret.len()),
        }
    }

    /// The public half; `None` for a symmetric key.
    pub(super) fn public(&self) -> Result<Option<PublicParameters>, ErrorStack> {
        Ok(match self {
            Self::Ec(curve, key) => {
                let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
                let mut context = BigNumContext::new()?;
                key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context)?;
                Some(PublicParameters::Ec {
                    curve: *curve,
                    x: encode(&x.to_vec_padded(curve.field_bytes())?),
                    y: encode(&y.to_vec_padded(curve.field_bytes())?),
                })
            }
            Self::Ed25519(pair) => {
                Some(PublicParameters::Ed25519 { x: encode(&pair.raw_public_key()?) })
            }
            Self::Rsa(key) => Some(PublicParameters::Rsa {
                e: encode(&key.e().to_vec()),
                n: encode(&key.n().to_vec()),
            }),
            Self::Oct(_) => None,
        })
    }
}

fn pkcs8(pair: &PKey<Private>) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    pair.private_key_to_pkcs8().map(Zeroizing::new)
}

fn boxed<S: JwsSigner + 'static>(
    signer: Result<S, JoseError>,
) -> Result<Box<dyn JwsSigner>, JoseError> {
    signer.map(|signer| Box::new(signer) as Box<dyn JwsSigner>)
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The public members of a JWK, in base64url (RFC 7518 §6, RFC 8037 §2). The type has no field for a
/// private member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicParameters {
    Ec { curve: Curve, x: String, y: String },
    Ed25519 { x: String },
    Rsa { e: String, n: String },
}

impl PublicParameters {
    /// The SHA-256 thumbprint over the required members in order, without whitespace (RFC 7638 §3).
    pub(super) fn thumbprint(&self) -> String {
        let members = match self {
            Self::Ec { curve, x, y } => {
                format!(r#"{{"crv":"{}","kty":"EC","x":"{x}","y":"{y}"}}"#, curve.name())
            }
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { e, n } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        encode(&sha256(members.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::PublicParameters;

    #[test]
    fn the_standards_rsa_key_has_the_standards_thumbprint() {
        // RFC 7638 §3.1.
        let n = concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tS",
            "oc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65",
            "YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyr",
            "dkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK",
            "nqDKgw",
        );
        let key = PublicParameters::Rsa { e: "AQAB".to_owned(), n: n.to_owned() };
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
