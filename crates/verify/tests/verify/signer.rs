//! Private keys, and tokens signed with them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer as OpensslSigner};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use serde_json::{Value, json};

pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) algorithm: &'static str,
    key: Key,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(PKey<Private>),
}

impl Signer {
    pub(crate) fn es256(kid: &str) -> Self {
        Self::ecdsa(kid, "ES256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// One signer of each algorithm that can be accepted.
    pub(crate) fn all() -> [Self; 5] {
        let rsa = || PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let ed25519 = Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap();
        let new = |algorithm: &'static str, key| Self { kid: algorithm.into(), algorithm, key };
        [
            Self::es256("ES256"),
            Self::ecdsa("ES384", "ES384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            new("EdDSA", Key::Ed25519(ed25519)),
            new("RS256", Key::Rsa(rsa())),
            new("PS256", Key::Rsa(rsa())),
        ]
    }

    fn ecdsa(kid: &str, algorithm: &'static str, curve: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(curve, pair.as_ref(), &random).unwrap();
        Self { kid: kid.into(), algorithm, key: Key::Ecdsa(pair) }
    }

    /// The public key, as a JWKS has it.
    pub(crate) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            Key::Ecdsa(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            Key::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
            Key::Rsa(key) => {
                let rsa = key.rsa().unwrap();
                json!({ "kty": "RSA", "n": text(&rsa.n().to_vec()), "e": text(&rsa.e().to_vec()) })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm);
        jwk["use"] = json!("sig");
        jwk
    }

    /// An access token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({}), claims)
    }

    /// A token with a header that differs in these members; `null` removes one.
    pub(crate) fn token_with(&self, changes: &Value, claims: &Value) -> String {
        let mut header = json!({ "alg": self.algorithm, "typ": "at+jwt", "kid": self.kid });
        let header = header.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            header.insert(name.clone(), value.clone());
        }
        header.retain(|_, value| !value.is_null());
        self.token_of(&serde_json::to_string(header).unwrap(), &claims.to_string())
    }

    /// A token with this header and these claims, byte for byte.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Rsa(key) => {
                let mut signer = OpensslSigner::new(MessageDigest::sha256(), key).unwrap();
                if self.algorithm == "PS256" {
                    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                    signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
                }
                signer.sign_oneshot_to_vec(message).unwrap()
            }
        }
    }
}
