//! Signed objects, made by another implementation than the one that is tested.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;

/// A compact JWS (RFC 7515 §3.1) with this header and these claims, signed with HS256 whatever the header says.
pub fn hs256(key: &str, header: &Value, claims: &Value) -> String {
    let encoded = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let key = EncodingKey::from_secret(key.as_bytes());
    let mac = sign(signed.as_bytes(), &key, Algorithm::HS256).expect("HS256 signs anything");
    format!("{signed}.{mac}")
}
