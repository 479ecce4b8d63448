//! What the verifier accepts and refuses, with real keys and signatures.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fake_issuer;
mod forged;
#[cfg(feature = "http")]
mod http;
mod keys;
mod signer;
mod tokens;

use mintgate_verify::{Builder, Claims, Refusal, Verifier};
use serde_json::{Value, json};

use fake_issuer::FakeIssuer;
use signer::Signer;

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://api.example.com";
/// The time of day in the tests, in seconds since 1970.
const NOW: i64 = 1_790_000_000;

/// The claims of a good token.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "01920000-0000-7000-8000-000000000001", "aud": AUDIENCE,
        "client_id": "mintgate", "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "jti": "id",
        "sid": "01920000-0000-7000-8000-00000000000a", "roles": ["admin", "user"], "idp": "corp",
        "auth_time": NOW - 5, "epoch": 3,
    })
}

/// The claims of a good token, but for these.
fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

fn builder(issuer: &FakeIssuer) -> Builder {
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW.unsigned_abs());
    Verifier::builder(ISSUER).audience(AUDIENCE).fetch(issuer.clone()).clock(move || now)
}

/// A verifier that has the keys of these signers.
async fn verifier_of(signers: &[&Signer]) -> Verifier {
    ready(builder(&FakeIssuer::with(signers))).await
}

async fn ready(builder: Builder) -> Verifier {
    let verifier = builder.build().unwrap();
    verifier.ready().await;
    verifier
}

#[track_caller]
fn refused(result: Result<Claims, Refusal>) -> Refusal {
    result.expect_err("the token was accepted")
}
