//! A service that accepts access tokens.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

/// A resource server, which verifies access tokens offline (RFC 9068 §4). It does so with
/// `jsonwebtoken` on RustCrypto: a second implementation, which shares no code with Mintgate's.
#[derive(Debug)]
pub struct ResourceServer {
    keys: JwkSet,
    issuer: String,
    audience: String,
}

impl ResourceServer {
    /// Accepts tokens of this issuer for this audience, and keeps this key set (RFC 7517 §5).
    ///
    /// # Panics
    /// If the text is no key set.
    pub fn new(jwks: &str, issuer: &str, audience: &str) -> Self {
        let keys = serde_json::from_str(jwks).expect("a JWK set");
        Self { keys, issuer: issuer.to_owned(), audience: audience.to_owned() }
    }

    /// Whether the key set has a key of this `kid`.
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.find(kid).is_some()
    }

    /// Verifies a token and returns its claims.
    ///
    /// # Errors
    /// Says why the token is refused.
    pub fn verify(&self, token: &str) -> Result<Value, String> {
        self.verify_by(token, true)
    }

    /// Verifies a token whose time may be another clock's: its expiry does not matter, and need not be there.
    ///
    /// # Errors
    /// Says why the token is refused.
    pub fn verify_at_any_time(&self, token: &str) -> Result<Value, String> {
        self.verify_by(token, false)
    }

    /// Verifies with the key of the token's `kid` and the algorithm of that key's JWK.
    fn verify_by(&self, token: &str, expires: bool) -> Result<Value, String> {
        let header = decode_header(token).map_err(|e| e.to_string())?;
        let jwk = header.kid.as_deref().and_then(|kid| self.keys.find(kid)).ok_or("unknown kid")?;
        let algorithm = jwk.common.key_algorithm.ok_or("a JWK without alg")?.to_string();
        let mut rules = Validation::new(algorithm.parse().map_err(|_| "unknown alg")?);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        rules.validate_exp = expires;
        if !expires {
            rules.set_required_spec_claims::<&str>(&[]);
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|e| e.to_string())?;
        let data = decode(token, &key, &rules).map_err(|e| e.to_string())?;
        Ok(data.claims)
    }
}
