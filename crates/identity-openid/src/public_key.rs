//! A public key of a provider, decoded once, and the verification of signatures with it (RFC 7518 §3,
//! RFC 8037 §3.1).
//!
//! RSA and ECDSA are verified by OpenSSL, which takes a fifth of the time of the libraries that
//! openidconnect uses. Ed25519 is not: OpenSSL is the slower one there.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use mintgate_domain::{Cause, SecretText};
use openidconnect::core::CoreJwsSigningAlgorithm as Alg;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::memcmp;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer, Verifier};
use serde_json::{Map, Value};

use crate::client_key::MIN_RSA_BITS;

/// The largest exponent of an RSA key. Larger ones are not in use and cost as much as a private key.
const MAX_RSA_EXPONENT: u64 = (1 << 33) - 1;

/// A key that verifies signatures.
pub(crate) enum PublicKey {
    Rsa(PKey<Public>),
    P256(EcKey<Public>),
    P384(EcKey<Public>),
    Ed25519(VerifyingKey),
    /// The client secret, for the symmetric algorithms (OIDC Core §10.1).
    Secret(SecretText),
}

impl PublicKey {
    /// Decodes the members of a JWK (RFC 7518 §6, RFC 8037 §2). `None` if it is malformed, of a kind that
    /// is not supported, or so weak that others can sign with it.
    pub(crate) fn decode(jwk: &Map<String, Value>) -> Option<Self> {
        match jwk.get("kty")?.as_str()? {
            "RSA" => rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?).map(Self::Rsa),
            "EC" => match jwk.get("crv")?.as_str()? {
                "P-256" => point(jwk, Nid::X9_62_PRIME256V1, 32).map(Self::P256),
                "P-384" => point(jwk, Nid::SECP384R1, 48).map(Self::P384),
                _ => None,
            },
            "OKP" if jwk.get("crv")?.as_str()? == "Ed25519" => {
                let point: [u8; 32] = bytes(jwk, "x")?.try_into().ok()?;
                let key = VerifyingKey::from_bytes(&point).ok()?;
                // Under a point of small order anybody can forge signatures; RFC 8032 §5.1.7 does not
                // exclude them.
                (!key.is_weak()).then_some(Self::Ed25519(key))
            }
            _ => None,
        }
    }

    /// Verifies a signature.
    ///
    /// # Errors
    /// If the signature is another key's, has another length than the algorithm's, or the algorithm is
    /// not one of this kind of key.
    pub(crate) fn verify(
        &self,
        algorithm: &Alg,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), Cause> {
        let is_good = match (self, algorithm) {
            (Self::Ed25519(key), Alg::EdDsa) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
            (key, algorithm) => key
                .verify_by_openssl(algorithm, signed, signature)
                .map_err(|error| Cause::from_error("its signature cannot be verified", error))?,
        };
        if is_good { Ok(()) } else { Err("its signature is not one of this key".into()) }
    }

    fn verify_by_openssl(
        &self,
        algorithm: &Alg,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool, ErrorStack> {
        let digest = digest(algorithm);
        match (self, algorithm) {
            (
                Self::Rsa(key),
                Alg::RsaSsaPkcs1V15Sha256 | Alg::RsaSsaPkcs1V15Sha384 | Alg::RsaSsaPkcs1V15Sha512,
            ) => verify_rsa(key, digest, Padding::PKCS1, signed, signature),
            (
                Self::Rsa(key),
                Alg::RsaSsaPssSha256 | Alg::RsaSsaPssSha384 | Alg::RsaSsaPssSha512,
            ) => verify_rsa(key, digest, Padding::PKCS1_PSS, signed, signature),
            (Self::P256(key), Alg::EcdsaP256Sha256) => {
                verify_ecdsa(key, digest, 32, signed, signature)
            }
            (Self::P384(key), Alg::EcdsaP384Sha384) => {
                verify_ecdsa(key, digest, 48, signed, signature)
            }
            (Self::Secret(secret), Alg::HmacSha256 | Alg::HmacSha384 | Alg::HmacSha512) => {
                verify_hmac(secret, digest, signed, signature)
            }
            _ => Ok(false),
        }
    }
}

/// The hash function of an algorithm; EdDSA has none of its own here.
fn digest(algorithm: &Alg) -> MessageDigest {
    match algorithm {
        Alg::RsaSsaPkcs1V15Sha384
        | Alg::RsaSsaPssSha384
        | Alg::EcdsaP384Sha384
        | Alg::HmacSha384 => MessageDigest::sha384(),
        Alg::RsaSsaPkcs1V15Sha512 | Alg::RsaSsaPssSha512 | Alg::HmacSha512 => {
            MessageDigest::sha512()
        }
        _ => MessageDigest::sha256(),
    }
}

/// An RSA key of at least 2048 bits (RFC 7518 §3.3), with an odd exponent of 3 or more: with 1, a message
/// is its own signature.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<PKey<Public>> {
    let modulus = BigNum::from_slice(modulus).ok()?;
    let exponent = BigNum::from_slice(exponent).ok()?;
    let largest = BigNum::from_slice(&MAX_RSA_EXPONENT.to_be_bytes()).ok()?;
    let smallest = BigNum::from_u32(3).ok()?;
    let is_usable = modulus.num_bits() >= MIN_RSA_BITS.cast_signed()
        && modulus.is_bit_set(0)
        && exponent.is_bit_set(0)
        && exponent >= smallest
        && exponent <= largest;
    if !is_usable {
        return None;
    }
    PKey::from_rsa(Rsa::from_public_components(modulus, exponent).ok()?).ok()
}

/// A point on a curve. A coordinate has exactly the size of the field (RFC 7518 §6.2.1.2).
fn point(jwk: &Map<String, Value>, curve: Nid, size: usize) -> Option<EcKey<Public>> {
    let [x, y] = ["x", "y"].map(|name| bytes(jwk, name).filter(|at| at.len() == size));
    let (x, y) = (BigNum::from_slice(&x?).ok()?, BigNum::from_slice(&y?).ok()?);
    let group = EcGroup::from_curve_name(curve).ok()?;
    // OpenSSL refuses a point that is not on the curve.
    EcKey::from_public_key_affine_coordinates(&group, &x, &y).ok()
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok()
}

fn verify_rsa(
    key: &PKey<Public>,
    digest: MessageDigest,
    padding: Padding,
    signed: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let mut verifier = Verifier::new(digest, key)?;
    verifier.set_rsa_padding(padding)?;
    if padding == Padding::PKCS1_PSS {
        // The salt is as long as the hash (RFC 7518 §3.5).
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        verifier.set_rsa_mgf1_md(digest)?;
    }
    verifier.verify_oneshot(signature, signed)
}

/// A signature is the two numbers, each as long as the field (RFC 7518 §3.4).
fn verify_ecdsa(
    key: &EcKey<Public>,
    digest: MessageDigest,
    size: usize,
    signed: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    if signature.len() != 2 * size {
        return Ok(false);
    }
    let (r, s) = signature.split_at(size);
    let signature =
        EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    signature.verify(&hash(digest, signed)?, key)
}

fn verify_hmac(
    secret: &SecretText,
    digest: MessageDigest,
    signed: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let key = PKey::hmac(secret.expose().as_bytes())?;
    let expected = Signer::new(digest, &key)?.sign_oneshot_to_vec(signed)?;
    Ok(expected.len() == signature.len() && memcmp::eq(&expected, signature))
}
