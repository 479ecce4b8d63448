//! The keys of one issuer, as its JWKS lists them (RFC 7517 §5).

use serde::Deserialize;
use serde_json::Value;

use crate::key::{Algorithm, Jwk, PublicKey};
use crate::refusal::Refusal;

/// The most keys of a JWKS that are used.
const MAX_KEYS: usize = 64;

/// The keys of one issuer; at least one.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<PublicKey>);

impl KeySet {
    /// Reads a JWKS. Keys of an unknown kind are skipped (RFC 7517 §5).
    ///
    /// # Errors
    /// The text is no JWKS, or no key of it is usable: then something is wrong at the issuer, or somebody else has
    /// answered.
    pub(crate) fn parse(jwks: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<Value>,
        }
        let jwks: Jwks = serde_json::from_slice(jwks).map_err(|_| "the answer is not a JWKS")?;
        let usable = jwks
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter_map(PublicKey::from_jwk);
        let keys: Vec<_> = usable.take(MAX_KEYS).collect();
        if keys.is_empty() { Err("the JWKS has no usable key") } else { Ok(Self(keys)) }
    }

    /// The key with this `kid`; without a `kid`, the key for this algorithm if there is exactly one.
    ///
    /// # Errors
    /// [`Refusal::KeyNotFetched`] if no key has the `kid`, [`Refusal::WrongAlgorithm`] if the key that has it is not for this
    /// algorithm, [`Refusal::UnknownKey`] if there is no `kid`, and not exactly one key fits.
    pub(crate) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&PublicKey, Refusal> {
        let mut fitting = self.0.iter().filter(|key| key.fits(algorithm));
        if kid.is_none() {
            let only = fitting.next().filter(|_| fitting.next().is_none());
            return only.ok_or(Refusal::UnknownKey);
        }
        let is_it = |key: &&PublicKey| key.kid.as_deref() == kid;
        fitting.find(is_it).ok_or_else(|| match self.0.iter().find(is_it) {
            Some(_) => Refusal::WrongAlgorithm,
            None => Refusal::KeyNotFetched,
        })
    }
}
