//! The contract suite, for every algorithm; `jsonwebtoken`, on RustCrypto, is the second opinion.

use std::pin::Pin;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use mintgate_domain::model::KeyUse;
use mintgate_signer_jose::{Algorithm, KeyRingConfig};
use mintgate_testkit::signer_suite::SignerContract;
use serde_json::Value;

use crate::common::{self, World, read};

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

/// Keys that are given, on two replicas that have read them from the same texts.
async fn check_given(access: Algorithm, refresh: Algorithm) {
    let (access_text, refresh_text) = (common::key_text(access), common::key_text(refresh));
    let tokens = || common::fixed(read(&access_text, access), read(&refresh_text, refresh));
    let (tokens, twin) = (tokens(), tokens());
    let asymmetric = access != Algorithm::Hs256;
    let contract =
        SignerContract { tokens: &tokens, twin: &twin, rotate: None, asymmetric, verify: &verify };
    contract.check().await;
}

/// Keys of a ring, on two replicas that share it.
async fn check_shared(access: Algorithm, refresh: Algorithm) {
    let world = World::default();
    let config = KeyRingConfig { access, refresh, ..common::ring_config() };
    let replica = world.started(config.clone()).await;
    let twin = world.started(config).await;
    let rotate = || {
        let act = async {
            world.clock.advance(common::PUBLISH_AHEAD);
            for key_use in KeyUse::ALL {
                replica.ring.rotate(key_use).await.unwrap();
            }
            twin.ring.load().await.unwrap();
        };
        Box::pin(act) as Pin<Box<dyn Future<Output = ()> + '_>>
    };
    let contract = SignerContract {
        tokens: &replica.tokens,
        twin: &twin.tokens,
        rotate: Some(&rotate),
        asymmetric: access != Algorithm::Hs256,
        verify: &verify,
    };
    contract.check().await;
}

#[tokio::test]
async fn every_given_access_key_keeps_the_contract() {
    for access in Algorithm::ALL {
        check_given(access, Algorithm::Hs256).await;
    }
}

#[tokio::test]
async fn every_given_refresh_key_keeps_the_contract() {
    for refresh in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_deterministic()) {
        check_given(Algorithm::Es256, refresh).await;
    }
}

#[tokio::test]
async fn rings_of_every_access_algorithm_keep_the_contract() {
    for access in Algorithm::ALL {
        check_shared(access, Algorithm::Hs256).await;
    }
}

#[tokio::test]
async fn rings_of_every_refresh_algorithm_keep_the_contract() {
    for refresh in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_deterministic()) {
        check_shared(Algorithm::EdDsa, refresh).await;
    }
}
