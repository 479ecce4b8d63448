//! The contract suite for every algorithm.

use std::pin::Pin;

use mintgate_domain::model::KeyUse;
use mintgate_signer_jose::{Algorithm, KeyRingConfig};
use mintgate_testkit::ResourceServer;
use mintgate_testkit::signer_suite::SignerContract;
use serde_json::Value;

use crate::common::{self, World, read};

fn verify(token: &str, jwks: &str) -> Result<Value, String> {
    ResourceServer::new(jwks, common::ISSUER, common::AUDIENCE).verify_at_any_time(token)
}

/// Checks fixed keys on two replicas that have read the same texts.
async fn check_fixed(access: Algorithm, refresh: Algorithm) {
    let (access_text, refresh_text) = (common::key_text(access), common::key_text(refresh));
    let tokens = || common::fixed(read(&access_text, access), read(&refresh_text, refresh));
    let (tokens, twin) = (tokens(), tokens());
    let asymmetric = access != Algorithm::Hs256;
    let contract =
        SignerContract { tokens: &tokens, twin: &twin, rotate: None, asymmetric, verify: &verify };
    contract.check().await;
}

/// Checks stored keys on two replicas that share a repository.
async fn check_stored(access: Algorithm, refresh: Algorithm) {
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
async fn fixed_access_keys_of_every_algorithm_keep_the_contract() {
    for access in Algorithm::ALL {
        check_fixed(access, Algorithm::Hs256).await;
    }
}

#[tokio::test]
async fn fixed_refresh_keys_of_every_algorithm_keep_the_contract() {
    for refresh in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_deterministic()) {
        check_fixed(Algorithm::Es256, refresh).await;
    }
}

#[tokio::test]
async fn stored_access_keys_of_every_algorithm_keep_the_contract() {
    for access in Algorithm::ALL {
        check_stored(access, Algorithm::Hs256).await;
    }
}

#[tokio::test]
async fn stored_refresh_keys_of_every_algorithm_keep_the_contract() {
    for refresh in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_deterministic()) {
        check_stored(Algorithm::EdDsa, refresh).await;
    }
}
