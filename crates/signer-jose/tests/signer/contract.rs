//! The contract suite, for every algorithm; `jsonwebtoken`, on RustCrypto, is the second opinion.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use mintgate_signer_jose::{Algorithm, JoseTokenSigner};
use mintgate_testkit::signer_suite::SignerContract;
use serde_json::Value;

use crate::common;

/// Verifies as a resource server would: by kid, with the algorithm the JWK names.
fn verify(token: &str, jwks: &str) -> Result<Value, String> {
    let set: JwkSet = serde_json::from_str(jwks).map_err(|e| e.to_string())?;
    let header = jsonwebtoken::decode_header(token).map_err(|e| e.to_string())?;
    let jwk = header.kid.as_deref().and_then(|kid| set.find(kid)).ok_or("unknown kid")?;
    let algorithm = jwk.common.key_algorithm.ok_or("a JWK without alg")?.to_string();
    let mut validation = Validation::new(algorithm.parse().map_err(|_| "unknown alg")?);
    validation.set_issuer(&[common::ISSUER]);
    validation.set_audience(&[common::AUDIENCE]);
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(jwk).map_err(|e| e.to_string())?;
    let data = jsonwebtoken::decode(token, &key, &validation).map_err(|e| e.to_string())?;
    Ok(data.claims)
}

fn check(signer: &JoseTokenSigner, asymmetric: bool) {
    SignerContract { signer, keys: signer, asymmetric, verify: &verify }.check();
}

#[test]
fn every_access_algorithm_keeps_the_contract() {
    for access in Algorithm::ALL {
        check(&common::signer(access, Algorithm::Hs256), access != Algorithm::Hs256);
    }
}

#[test]
fn every_refresh_algorithm_keeps_the_contract() {
    for refresh in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_deterministic()) {
        check(&common::signer(Algorithm::Es256, refresh), true);
    }
}
