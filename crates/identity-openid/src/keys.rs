//! The keys that a provider publishes (RFC 7517) without those that are too weak, and the verification of
//! signatures.

use mintgate_domain::{Cause, SecretText};
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm};
use openidconnect::{
    JsonWebKey as _, JsonWebKeyAlgorithm, JsonWebKeyUse, JwsSigningAlgorithm as _,
};
use serde_json::Value;

use crate::config::algorithm;
use crate::dialect::IssuerRule;
use crate::json::select;
use crate::public_key::PublicKey;
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

struct Key {
    jwk: CoreJsonWebKey,
    public: PublicKey,
    /// The issuer that the key is restricted to (Entra).
    issuer: Option<Value>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.jwk == other.jwk && self.issuer == other.issuer
    }
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

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many keys can verify a token that is signed with one of these algorithms.
    pub(crate) fn fitting(&self, algorithms: &[String]) -> usize {
        let algorithms: Vec<_> = algorithms.iter().filter_map(|name| algorithm(name)).collect();
        self.0.iter().filter(|key| algorithms.iter().any(|algorithm| key.fits(algorithm))).count()
    }

    /// The client secret as the key of symmetric algorithms (OIDC Core §10.1).
    pub(crate) fn of_secret(secret: &SecretText) -> Self {
        let jwk = CoreJsonWebKey::new_symmetric(secret.expose().as_bytes().to_vec());
        Self(vec![Key { jwk, public: PublicKey::Secret(secret.clone()), issuer: None }])
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
            match key.public.verify(&algorithm, signed, signature) {
                Ok(()) => return Ok(()),
                Err(cause) => unproven = Unproven::BadSignature(cause),
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
        let public = PublicKey::decode(&members)?;
        let jwk = serde_json::from_value(Value::Object(members)).ok()?;
        Some(Self { jwk, public, issuer })
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
