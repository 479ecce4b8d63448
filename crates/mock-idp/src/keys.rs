//! Signing keys of the provider and of attackers.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jwk::KeyPair;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jwk::alg::ed::{EdCurve, EdKeyPair};
use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jws::alg::hmac::HmacJwsAlgorithm::Hs256;
use josekit::jws::{ES256, EdDSA, JwsSigner, JwsVerifier, PS256, RS256};
use serde_json::{Map, Value};

use crate::IdTokenAlg;
use crate::ambient::random_text;

/// A key pair that signs ID tokens.
#[derive(Debug)]
pub(crate) struct SigningKey {
    /// The `kid` of the key.
    pub kid: String,
    /// The public key as a JWK with kid, use and alg.
    pub public_jwk: Map<String, Value>,
    /// The public key as PEM (SPKI).
    pub public_pem: Vec<u8>,
    signer: Box<dyn JwsSigner>,
}

/// The role of a key. All mocks of a process share the first key of each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// A key of the provider, which is published.
    Genuine,
    /// A key of an attacker, which is never published.
    Attacker,
    /// The former key of a provider that has not rotated, which was never published.
    Retired,
}

impl SigningKey {
    /// The key of the process for a role: tests start many mocks, and RSA keys take long to generate.
    pub(crate) fn shared(alg: IdTokenAlg, role: Role) -> Arc<Self> {
        static KEYS: Mutex<BTreeMap<(IdTokenAlg, Role), Arc<SigningKey>>> =
            Mutex::new(BTreeMap::new());
        let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
        keys.entry((alg, role)).or_insert_with(|| Arc::new(Self::generate(alg))).clone()
    }

    /// A new key with a new kid.
    pub(crate) fn generate(alg: IdTokenAlg) -> Self {
        let pair = new_pair(alg);
        let private_jwk = pair.to_jwk_key_pair();
        let signer: Box<dyn JwsSigner> = match alg {
            IdTokenAlg::Rs256 => Box::new(sure(RS256.signer_from_jwk(&private_jwk))),
            IdTokenAlg::Ps256 => Box::new(sure(PS256.signer_from_jwk(&private_jwk))),
            IdTokenAlg::Es256 => Box::new(sure(ES256.signer_from_jwk(&private_jwk))),
            IdTokenAlg::EdDsa => Box::new(sure(EdDSA.signer_from_jwk(&private_jwk))),
        };
        let kid = random_text::<12>();
        let mut public_jwk: Jwk = pair.to_jwk_public_key();
        public_jwk.set_key_id(&kid);
        public_jwk.set_key_use("sig");
        public_jwk.set_algorithm(alg.name());
        Self { kid, public_jwk: public_jwk.into(), public_pem: pair.to_pem_public_key(), signer }
    }

    /// The modulus of an RSA key, or x of another key.
    pub(crate) fn public_number(&self) -> Vec<u8> {
        let member = self.public_jwk.get("n").or_else(|| self.public_jwk.get("x"));
        let encoded = member.and_then(Value::as_str).unwrap_or_default();
        sure(BASE64_URL_SAFE_NO_PAD.decode(encoded))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        sure(self.signer.sign(message))
    }

    /// Whether this key has made the signature of the message.
    fn has_signed(&self, alg: IdTokenAlg, message: &[u8], signature: &[u8]) -> bool {
        let jwk = sure(Jwk::from_map(self.public_jwk.clone()));
        let verifier: Box<dyn JwsVerifier> = match alg {
            IdTokenAlg::Rs256 => Box::new(sure(RS256.verifier_from_jwk(&jwk))),
            IdTokenAlg::Ps256 => Box::new(sure(PS256.verifier_from_jwk(&jwk))),
            IdTokenAlg::Es256 => Box::new(sure(ES256.verifier_from_jwk(&jwk))),
            IdTokenAlg::EdDsa => Box::new(sure(EdDSA.verifier_from_jwk(&jwk))),
        };
        verifier.verify(message, signature).is_ok()
    }
}

/// Generates a key pair for an algorithm.
pub(crate) fn new_pair(alg: IdTokenAlg) -> Box<dyn KeyPair> {
    match alg {
        IdTokenAlg::Rs256 | IdTokenAlg::Ps256 => Box::new(sure(RsaKeyPair::generate(2048))),
        IdTokenAlg::Es256 => Box::new(sure(EcKeyPair::generate(EcCurve::P256))),
        IdTokenAlg::EdDsa => Box::new(sure(EdKeyPair::generate(EdCurve::Ed25519))),
    }
}

/// The signing keys of the mock provider.
#[derive(Debug, Clone)]
pub(crate) struct KeyRing {
    /// The algorithm that every key signs with.
    pub alg: IdTokenAlg,
    /// The published key that signs.
    pub current: Arc<SigningKey>,
    /// The key that signed before the last rotation, if there was one.
    pub former: Option<Arc<SigningKey>>,
    /// The key that is published and will sign next.
    pub next: Option<Arc<SigningKey>>,
    /// Whether the former key is still published.
    keeps_former: bool,
}

impl KeyRing {
    pub(crate) fn new(alg: IdTokenAlg) -> Self {
        Self {
            alg,
            current: SigningKey::shared(alg, Role::Genuine),
            former: None,
            next: None,
            keeps_former: false,
        }
    }

    /// Signs with a new key from now on, and publishes no other key.
    pub(crate) fn rotate(&mut self, next: Arc<SigningKey>) {
        self.former = Some(std::mem::replace(&mut self.current, next));
        self.next = None;
        self.keeps_former = false;
    }

    /// Signs with the announced key from now on, if there is one, and keeps the former key published.
    pub(crate) fn take_announced(&mut self) {
        if let Some(next) = self.next.take() {
            self.rotate(next);
            self.keeps_former = true;
        }
    }

    /// The published keys.
    pub(crate) fn published(&self) -> impl Iterator<Item = &SigningKey> {
        let former = self.former.iter().filter(|_| self.keeps_former);
        std::iter::once(&self.current).chain(&self.next).chain(former).map(AsRef::as_ref)
    }

    /// Whether the current key or the one before has made the signature of the message.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut keys = std::iter::once(&self.current).chain(&self.former);
        keys.any(|key| key.has_signed(self.alg, message, signature))
    }

    pub(crate) fn former_or_unpublished(&self) -> Arc<SigningKey> {
        self.former.clone().unwrap_or_else(|| SigningKey::shared(self.alg, Role::Retired))
    }
}

/// HMAC-SHA-256 under any key, short ones included.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    // josekit refuses short keys. HMAC pads a short key with zeros to the block size (RFC 2104 §2),
    // so padding here changes no result.
    let mut key = key.to_vec();
    key.resize(key.len().max(64), 0);
    sure(sure(Hs256.signer_from_bytes(&key)).sign(message))
}

/// Unwraps a result of OpenSSL that fails only without memory or randomness.
#[expect(clippy::panic, reason = "a mock cannot go on without memory or randomness")]
fn sure<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("OpenSSL failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_key_gives_the_hmac_of_the_standard() {
        // RFC 4231 §4.3, test case 2; the digest in base64url.
        let hmac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            BASE64_URL_SAFE_NO_PAD.encode(hmac),
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM"
        );
    }

    #[test]
    fn a_generated_key_is_a_new_one() {
        let (one, other) =
            (SigningKey::generate(IdTokenAlg::EdDsa), SigningKey::generate(IdTokenAlg::EdDsa));
        assert_ne!(one.kid, other.kid);
        assert_ne!(one.public_jwk["x"], other.public_jwk["x"]);
    }
}
