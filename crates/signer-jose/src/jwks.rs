//! The published key set (RFC 7517 §5).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_domain::ports::JwksDocument;
use openssl::sha::sha256;
use serde_json::{Value, json};

use crate::SigningKey;
use crate::key::PublicParameters;

/// The set of these keys' public halves. A symmetric key has none and is left out.
pub(crate) fn document(keys: &[&SigningKey]) -> JwksDocument {
    let algorithms: BTreeSet<_> = keys.iter().map(|key| key.algorithm().name()).collect();
    let keys: Vec<Value> = keys.iter().filter_map(|key| public_jwk(key)).collect();
    let json = json!({ "keys": keys }).to_string();
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(sha256(json.as_bytes())));
    JwksDocument { json, etag, algorithms: algorithms.into_iter().collect() }
}

fn public_jwk(key: &SigningKey) -> Option<Value> {
    let (alg, kid) = (key.algorithm().name(), key.id().as_str());
    Some(match key.public()? {
        PublicParameters::Ec { curve, x, y } => json!({
            "kty": "EC", "crv": curve.name(), "x": x, "y": y,
            "alg": alg, "use": "sig", "kid": kid,
        }),
        PublicParameters::Ed25519 { x } => json!({
            "kty": "OKP", "crv": "Ed25519", "x": x,
            "alg": alg, "use": "sig", "kid": kid,
        }),
        PublicParameters::Rsa { e, n } => json!({
            "kty": "RSA", "n": n, "e": e,
            "alg": alg, "use": "sig", "kid": kid,
        }),
    })
}
