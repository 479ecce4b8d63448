//! The keys that a provider publishes (RFC 7517) without those that are too weak, and the verification of
//! signatures.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::{Cause, SecretText};
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{
    JsonWebKey as _, JsonWebKeyAlgorithm, JsonWebKeyUse, JwsSigningAlgorithm as _,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::client_key::MIN_RSA_BITS;
use crate::config::algorithm;
use crate::dialect::IssuerRule;
use crate::json::JsonError;
use crate::quirks::entra::KeyIssuers;
use crate::token::UnverifiedToken;

/// The usable keys of one JWKS.
#[derive(Default)]
pub(crate) struct Keys {
    set: Vec<CoreJsonWebKey>,
    /// The issuers that single keys are restricted to.
    pub(crate) issuers: KeyIssuers,
}

impl Keys {
    /// Reads a JWKS. An empty set is refused, as it would refuse every token.
    pub(crate) fn read(document: &[u8], rule: &IssuerRule) -> Result<Self, Cause> {
        #[derive(Deserialize)]
        struct AnyKeys {
            keys: Vec<IgnoredAny>,
        }
        let unreadable = |error| Cause::from_error("it is not a JWKS", JsonError::from(error));
        // Counted here, because openidconnect leaves out keys of unknown types.
        let any: AnyKeys = serde_json::from_slice(document).map_err(unreadable)?;
        if any.keys.is_empty() {
            return Err("it has no key".into());
        }
        let set: CoreJsonWebKeySet = serde_json::from_slice(document).map_err(unreadable)?;
        let set = set.keys().iter().filter(|key| is_usable(key)).cloned().collect();
        let issuers = match rule {
            IssuerRule::Exact => KeyIssuers::default(),
            IssuerRule::Tenants { .. } => KeyIssuers::read(document)?,
        };
        Ok(Self { set, issuers })
    }

    /// The client secret as the key of symmetric algorithms (OIDC Core §10.1).
    pub(crate) fn of_secret(secret: &SecretText) -> Self {
        let key = CoreJsonWebKey::new_symmetric(secret.expose().as_bytes().to_vec());
        Self { set: vec![key], issuers: KeyIssuers::default() }
    }

    /// Verifies the signature of a token, whose algorithm is one of the pinned ones.
    pub(crate) fn verify(&self, token: &UnverifiedToken<'_>) -> Result<(), Unproven> {
        let algorithm = algorithm(&token.algorithm)
            .ok_or_else(|| Unproven::Refused("its algorithm is unknown".into()))?;
        let mut fitting = self.set.iter().filter(|key| fits(key, token.kid.as_deref(), &algorithm));
        let key = fitting.next().ok_or(Unproven::UnknownKey)?;
        if fitting.next().is_some() {
            return Err(Unproven::Refused("several keys of this provider fit it".into()));
        }
        key.verify_signature(&algorithm, token.signed_part.as_bytes(), &token.signature).map_err(
            |error| Unproven::Refused(Cause::from_error("its signature is refused", error)),
        )
    }
}

/// The reason why a signature is not accepted.
#[derive(Debug)]
pub(crate) enum Unproven {
    /// No key fits; the provider may have published a newer one.
    UnknownKey,
    /// The signature is wrong, or cannot be attributed to one key.
    Refused(Cause),
}

/// Whether a key has the key id of the token, if there is one, and may be used with this algorithm
/// (RFC 7515 §4.1.4, RFC 7517 §4.1, §4.2, §4.4).
fn fits(key: &CoreJsonWebKey, kid: Option<&str>, algorithm: &CoreJwsSigningAlgorithm) -> bool {
    // There is one client secret, whatever key id a token names.
    let is_named = algorithm.uses_shared_secret()
        || kid.is_none_or(|kid| key.key_id().is_some_and(|id| id.as_str() == kid));
    let may_sign = key.key_use().is_none_or(JsonWebKeyUse::allows_signature);
    let for_it = match key.signing_alg() {
        JsonWebKeyAlgorithm::Algorithm(only) => only == algorithm,
        JsonWebKeyAlgorithm::Unspecified => true,
        JsonWebKeyAlgorithm::Unsupported => false,
    };
    is_named && may_sign && for_it && algorithm.key_type().as_ref() == Some(key.key_type())
}

/// Whether a key is strong enough, which openidconnect does not check. openidconnect itself refuses keys
/// that are malformed.
fn is_usable(key: &CoreJsonWebKey) -> bool {
    let Ok(Value::Object(key)) = serde_json::to_value(key) else { return false };
    match key.get("kty").and_then(Value::as_str) {
        Some("RSA") => bytes(&key, "n").is_some_and(|n| bits(&n) >= MIN_RSA_BITS as usize),
        Some("EC") => {
            // A coordinate has exactly the size of the field (RFC 7518 §6.2.1.2).
            let size = match key.get("crv").and_then(Value::as_str) {
                Some("P-256") => 32,
                Some("P-384") => 48,
                _ => return false,
            };
            ["x", "y"].iter().all(|name| bytes(&key, name).is_some_and(|at| at.len() == size))
        }
        Some("OKP") => bytes(&key, "x").is_some_and(|x| !is_of_small_order(&x)),
        _ => true,
    }
}

fn bytes(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok()
}

/// The length of a big-endian number in bits, without leading zeros.
fn bits(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(first) => (number.len() - first) * 8 - number[first].leading_zeros() as usize,
        None => 0,
    }
}

/// Whether an Ed25519 public key is one of the eight points of small order, under which anybody can
/// forge signatures (RFC 8032 §5.1.7 does not exclude them). Compares `y` in every encoding, without the
/// sign of `x`.
fn is_of_small_order(point: &[u8]) -> bool {
    const fn around(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut bytes = [middle; 32];
        bytes[0] = first;
        bytes[31] = last;
        bytes
    }
    const SMALL: [[u8; 32]; 7] = [
        around(0, 0, 0),
        around(1, 0, 0),
        // p - 1, p and p + 1.
        around(0xec, 0xff, 0x7f),
        around(0xed, 0xff, 0x7f),
        around(0xee, 0xff, 0x7f),
        // Order 8.
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = point.to_vec();
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    SMALL.iter().any(|small| small[..] == y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_do_not_count_as_bits() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[0, 1]), 1);
        assert_eq!(bits(&[0x80, 0]), 16);
        assert_eq!(bits(&[0x7f; 256]), 2047);
        assert_eq!(bits(&[0x80; 256]), 2048);
    }

    #[test]
    fn a_point_of_small_order_is_found_whatever_its_sign() {
        let mut point = [0; 32];
        point[0] = 1;
        assert!(is_of_small_order(&point));
        point[31] = 0x80;
        assert!(is_of_small_order(&point));
        point[31] = 0x01;
        assert!(!is_of_small_order(&point));
        assert!(!is_of_small_order(&[]) && !is_of_small_order(&[0; 31]));
    }
}
