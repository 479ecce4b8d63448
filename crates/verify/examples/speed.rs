//! How long it takes to verify one access token, here and with the crate `jsonwebtoken`.
//!
//! ```sh
//! cargo run --release -p mintgate-verify --example speed
//! ```

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::print_stdout, reason = "its result")]

use std::error::Error;
use std::time::{Duration, Instant, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use mintgate_verify::{Fetch, Fetching, Issuer, Verifier};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://api.example.com";
const ROUNDS: u32 = 5;
const TOKENS_A_ROUND: u32 = 4000;

/// The claims that both read.
#[derive(Deserialize)]
#[expect(dead_code, reason = "they are read from the token, as a service would")]
struct Claims {
    sub: String,
    roles: Vec<String>,
    sid: String,
    idp: String,
    client_id: String,
    jti: String,
    exp: u64,
    iat: u64,
}

struct Jwks(String);

impl Fetch for Jwks {
    fn get<'a>(&'a self, _url: &'a str) -> Fetching<'a> {
        Box::pin(async { Ok(self.0.clone().into()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let random = SystemRandom::new();
    let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(curve, &random).map_err(|_| "no key")?;
    let pair = EcdsaKeyPair::from_pkcs8(curve, pair.as_ref(), &random).map_err(|_| "no key")?;
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let jwk = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "1", "x": x, "y": y });

    let now = UNIX_EPOCH.elapsed()?.as_secs();
    let part = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let header = part(json!({ "alg": "ES256", "typ": "at+jwt", "kid": "1" }));
    let claims = part(json!({
        "iss": ISSUER, "sub": "01920000-0000-7000-8000-000000000001", "aud": AUDIENCE,
        "client_id": "mintgate", "iat": now, "nbf": now, "exp": now + 3600,
        "jti": "7d0f8f6b2f9d4f0c9b1a2f3c4d5e6f70", "sid": "01920000-0000-7000-8000-00000000000a",
        "roles": ["admin", "user"], "idp": "corp", "auth_time": now,
    }));
    let signed = format!("{header}.{claims}");
    let signature = pair.sign(&random, signed.as_bytes()).map_err(|_| "no signature")?;
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));

    let issuer = Issuer::new(ISSUER).jwks_url(format!("{ISSUER}/jwks"));
    let verifier = Verifier::builder(issuer).audience(AUDIENCE);
    let verifier = verifier.fetch(Jwks(json!({ "keys": [jwk] }).to_string())).build()?;
    verifier.ready().await;

    let key = DecodingKey::from_ec_components(&x, &y)?;
    let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);

    println!("one ES256 token of {} bytes, best of {ROUNDS} rounds", token.len());
    let time = best(|| verifier.verify(&token).is_ok())?;
    println!("mintgate-verify (ring)      {:>7.1} µs", micros(time));
    let time = best(|| jsonwebtoken::decode::<Claims>(&token, &key, &validation).is_ok())?;
    println!("jsonwebtoken (rust_crypto)  {:>7.1} µs", micros(time));
    Ok(())
}

/// The time for one call, in the best of all rounds.
fn best(verify: impl Fn() -> bool) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..TOKENS_A_ROUND {
            if !verify() {
                return Err("the token was refused".into());
            }
        }
        best = best.min(begun.elapsed() / TOKENS_A_ROUND);
    }
    Ok(best)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
