//! The keys that a provider publishes (RFC 7517) without those that are too weak, and the verification of
//! signatures.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::{Cause, SecretText};
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm};
use openidconnect::{
    JsonWebKey as _, JsonWebKeyAlgorithm, JsonWebKeyUse, JwsSigningAlgorithm as _,
};
use serde_json::{Map, Value};

use crate::client_key::MIN_RSA_BITS;
use crate::config::algorithm;
use crate::dialect::IssuerRule;
use crate::json::select;
use crate::quirks::entra;
use crate::token::UnverifiedToken;

/// How many keys are tried for one token. Providers publish a handful; anybody can post a token that
/// fits all of them.
const MAX_TRIES: usize = 8;
/// The members of a key that are used, but for `key_ops` and Entra's `issuer`.
const USED: [&str; 9] = ["kty", "use", "kid", "alg", "n", "e", "crv", "x", "y"];

/// The usable keys of one JWKS, each once.
#[derive(Default, PartialEq)]
pub(crate) struct Keys(Vec<Key>);

#[derive(PartialEq)]
struct Key {
    jwk: CoreJsonWebKey,
    /// The issuer that the key is restricted to (Entra).
    issuer: Option<Value>,
}

/// The reason why a signature is not accepted.
#[derive(Debug)]
pub(crate) enum Unproven {
    /// No key fits; the provider may have published a newer one.
    UnknownKey,
    /// No key that fits has made the signature; the provider may have exchanged one.
    BadSignature(Cause),
    /// The keys that fit may not sign for this issuer, or the algorithm is unknown.
    Refused(Cause),
}

impl Keys {
    /// Reads a JWKS. An empty set is refused, as it would refuse every token.
    pub(crate) fn read(document: &[u8], rule: &IssuerRule) -> Result<Self, Cause> {
        let mut document = select(document, &["keys"])
            .map_err(|error| Cause::from_error("it is not a JWKS", error))?;
        let Some(Value::Array(published)) = document.remove("keys") else {
            return Err("it is not a JWKS: it has no list of keys".into());
        };
        if published.is_empty() {
            return Err("it has no key".into());
        }
        let mut keys = Vec::new();
        for key in published.into_iter().filter_map(|key| Key::read(key, rule)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(Self(keys))
    }

    /// The client secret as the key of symmetric algorithms (OIDC Core §10.1).
    pub(crate) fn of_secret(secret: &SecretText) -> Self {
        let jwk = CoreJsonWebKey::new_symmetric(secret.expose().as_bytes().to_vec());
        Self(vec![Key { jwk, issuer: None }])
    }

    /// Verifies the signature of a token, whose algorithm is one of the pinned ones, and that its key
    /// may sign for the issuer. A key id only chooses among the provider's keys: of several that fit,
    /// each is tried, and keys without an id fit a token that names none of the others.
    pub(crate) fn verify(
        &self,
        token: &UnverifiedToken<'_>,
        rule: &IssuerRule,
        issuer: &str,
    ) -> Result<(), Unproven> {
        let algorithm = algorithm(&token.algorithm)
            .ok_or_else(|| Unproven::Refused("its algorithm is unknown".into()))?;
        let fitting: Vec<_> = self.0.iter().filter(|key| key.fits(&algorithm)).collect();
        let id = |key: &Key| key.jwk.key_id().map(|id| id.as_str().to_owned());
        let named: Vec<_> = match &token.kid {
            // There is one client secret, whatever key id a token names.
            Some(kid) if !algorithm.uses_shared_secret() => {
                let is_named = fitting.iter().any(|key| id(key).as_ref() == Some(kid));
                let wanted = is_named.then(|| kid.clone());
                fitting.into_iter().filter(|key| id(key) == wanted).collect()
            }
            _ => fitting,
        };
        if named.is_empty() {
            return Err(Unproven::UnknownKey);
        }
        let mut unproven = Unproven::Refused("its key is that of another tenant".into());
        let allowed =
            named.into_iter().filter(|key| entra::may_sign(rule, key.issuer.as_ref(), issuer));
        for key in allowed.take(MAX_TRIES) {
            let (signed, signature) = (token.signed_part.as_bytes(), &token.signature);
            match key.jwk.verify_signature(&algorithm, signed, signature) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let cause = Cause::from_error("its signature is refused", error);
                    unproven = Unproven::BadSignature(cause);
                }
            }
        }
        Err(unproven)
    }
}

impl Key {
    /// Reads one key of a JWKS; `None` if it can verify nothing.
    fn read(key: Value, rule: &IssuerRule) -> Option<Self> {
        let Value::Object(mut members) = key else { return None };
        members.retain(|_, value| !value.is_null());
        let operations = members.remove("key_ops");
        if operations.is_some_and(|operations| !may_verify(&operations)) {
            return None;
        }
        let issuer = match rule {
            IssuerRule::Exact => None,
            IssuerRule::Tenants { .. } => members.remove("issuer"),
        };
        members.retain(|name, _| USED.contains(&name.as_str()));
        if members.get("kid").is_some_and(|kid| !kid.is_string()) {
            members.remove("kid");
        }
        for name in ["n", "e", "x", "y"] {
            if let Some(Value::String(number)) = members.get_mut(name) {
                *number = base64url(number);
            }
        }
        let jwk = serde_json::from_value(Value::Object(members)).ok()?;
        is_usable(&jwk).then_some(Self { jwk, issuer })
    }

    /// Whether the key may be used with this algorithm (RFC 7517 §4.1, §4.2, §4.4).
    fn fits(&self, algorithm: &CoreJwsSigningAlgorithm) -> bool {
        let may_sign = self.jwk.key_use().is_none_or(JsonWebKeyUse::allows_signature);
        let for_it = match self.jwk.signing_alg() {
            JsonWebKeyAlgorithm::Algorithm(only) => only == algorithm,
            JsonWebKeyAlgorithm::Unspecified => true,
            JsonWebKeyAlgorithm::Unsupported => false,
        };
        may_sign && for_it && algorithm.key_type().as_ref() == Some(self.jwk.key_type())
    }
}

/// A text in base64 as base64url without padding (RFC 7515 §2), which some providers do not keep to.
fn base64url(text: &str) -> String {
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Whether the operations of a public key are those of signatures (RFC 7517 §4.3). Some providers name
/// the operation of the private key.
fn may_verify(operations: &Value) -> bool {
    match operations {
        Value::Array(operations) => {
            operations.is_empty() || operations.iter().any(|it| it == "verify" || it == "sign")
        }
        _ => true,
    }
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
