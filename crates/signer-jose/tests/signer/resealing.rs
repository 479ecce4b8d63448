//! The change from one key-encryption key to another, by processes that know both.

use std::sync::Arc;

use mintgate_domain::SecretText;
use mintgate_domain::model::{SessionId, UpstreamTokens};
use mintgate_domain::ports::{
    KeyRepo, NoMetrics, TokenSeal as _, UpstreamTokenKind, UpstreamTokenRepo,
};
use mintgate_signer_jose::{
    EncryptionKeys, FixedKeys, KeySeal, Resealing, ResealingError, ResealingPorts, SealedTokens,
    abandon,
};
use mintgate_testkit::openings::{Openings, identity};
use mintgate_testkit::{StoreCalls as _, StoreUnderTest as _};

use crate::common::{World, ring_config};
use crate::sealing::key;

/// The keys of these bytes, the current one first.
fn keys(bytes: &[u8]) -> Arc<EncryptionKeys> {
    let (current, former) = bytes.split_first().unwrap();
    let former = former.iter().copied().map(key).collect();
    Arc::new(EncryptionKeys::new(key(*current), former))
}

fn process(world: &World, bytes: &[u8]) -> Resealing {
    let store = Arc::new(world.repo.store.clone());
    let ports = ResealingPorts {
        keys: store.clone(),
        upstream: store.clone(),
        duties: store,
        metrics: Arc::new(NoMetrics),
        clock: world.clock.clone(),
    };
    Resealing::new(ports, keys(bytes))
}

async fn round(process: &mut Resealing) -> Result<(), ResealingError> {
    process.round(|| async { true }).await
}

/// A store with signing keys and a session whose tokens are sealed under the first key.
async fn sealed_world() -> (World, SessionId) {
    let world = World::default();
    let seal = KeySeal::Sealed(keys(&[1]));
    world.replica_with(ring_config(), seal, FixedKeys::default()).apply_due_changes().await;
    process(&world, &[1]).start().await.unwrap();
    let mut opening = Openings::default().new_user(identity("ada"));
    let (id, tokens) = (opening.session.id, SealedTokens::new(keys(&[1])));
    let sealed = |kind| Some(tokens.seal(id, kind, &SecretText::new("a token")).unwrap());
    opening.upstream = UpstreamTokens {
        refresh: sealed(UpstreamTokenKind::Refresh),
        id: sealed(UpstreamTokenKind::Id),
        access: None,
    };
    Arc::new(world.repo.store.clone()).open_session(&opening).await.unwrap();
    (world, id)
}

/// Whether everything opens with these keys.
async fn opens(world: &World, id: SessionId, bytes: &[u8]) -> bool {
    let seal = KeySeal::Sealed(keys(bytes));
    let replica = world.replica_with(ring_config(), seal, FixedKeys::default());
    let tokens = SealedTokens::new(keys(bytes));
    let kept = world.repo.store.load_upstream(id).await.unwrap();
    let refresh = tokens.open(id, UpstreamTokenKind::Refresh, &kept.refresh.unwrap());
    let id_token = tokens.open(id, UpstreamTokenKind::Id, &kept.id.unwrap());
    replica.ring.load().await.is_ok() && refresh.is_ok() && id_token.is_ok()
}

async fn noted(world: &World) -> Vec<String> {
    world.repo.store.sealing_keys().await.unwrap()
}

#[tokio::test]
async fn everything_is_sealed_under_the_new_key_and_the_former_one_can_go() {
    let (world, id) = sealed_world().await;
    // First, every process learns the new key; nothing is sealed under it.
    let mut before = process(&world, &[1, 2]);
    before.start().await.unwrap();
    round(&mut before).await.unwrap();
    assert_eq!(noted(&world).await, [key(1).name()]);
    assert!(opens(&world, id, &[1]).await);
    // Then the first of them seals under it.
    let mut after = process(&world, &[2, 1]);
    after.start().await.unwrap();
    assert!(opens(&world, id, &[1, 2]).await);
    world.clock.advance(after.every());
    round(&mut after).await.unwrap();
    assert!(opens(&world, id, &[2]).await && opens(&world, id, &[1, 2]).await);
    assert_eq!(noted(&world).await, [key(2).name()]);
    process(&world, &[2]).start().await.unwrap();
}

#[tokio::test]
async fn processes_with_the_keys_in_opposite_roles_do_not_undo_each_others_work() {
    let (world, id) = sealed_world().await;
    let (mut old, mut new) = (process(&world, &[1, 2]), process(&world, &[2, 1]));
    old.start().await.unwrap();
    new.start().await.unwrap();
    round(&mut new).await.unwrap();
    world.clock.advance(new.every());
    let sealed = world.repo.store.dump().await;
    round(&mut old).await.unwrap();
    let rows = |table| sealed.rows(table).to_vec();
    let now = world.repo.store.dump().await;
    assert_eq!(now.rows("upstream_tokens"), rows("upstream_tokens"));
    assert_eq!(now.rows("signing_keys"), rows("signing_keys"));
    // It goes on sealing under its own key, which is needed as long.
    assert_eq!(noted(&world).await.len(), 2);
    assert!(opens(&world, id, &[2]).await);
}

#[tokio::test]
async fn a_key_that_is_taken_out_too_early_is_an_error_that_changes_nothing() {
    let (world, id) = sealed_world().await;
    let mut half = process(&world, &[2, 1]);
    half.start().await.unwrap();
    let before = world.repo.store.dump().await;
    let refused = process(&world, &[2]).start().await.unwrap_err();
    let ResealingError::MissingKeys(missing) = refused else { panic!("{refused}") };
    assert_eq!(missing, [key(1).name()]);
    assert_eq!(world.repo.store.dump().await, before);
    // Put back, it goes on where it was.
    let mut again = process(&world, &[2, 1]);
    again.start().await.unwrap();
    round(&mut again).await.unwrap();
    assert!(opens(&world, id, &[2]).await);
}

#[tokio::test]
async fn what_is_sealed_under_a_lost_key_is_given_up_by_an_order_alone() {
    let (world, _) = sealed_world().await;
    let store = &world.repo.store;
    let configured = abandon(store, &keys(&[1]), key(1).name()).await.unwrap_err();
    assert!(matches!(configured, ResealingError::Configured(_)), "{configured}");
    let before = store.list_keys().await.unwrap().len();
    assert_eq!(abandon(store, &keys(&[2]), key(1).name()).await.unwrap(), before);
    process(&world, &[2]).start().await.unwrap();
    let seal = KeySeal::Sealed(keys(&[2]));
    world.replica_with(ring_config(), seal, FixedKeys::default()).apply_due_changes().await;
    assert_eq!(store.list_keys().await.unwrap().len(), before);
}

#[test]
fn a_token_says_at_its_beginning_which_key_seals_it() {
    let (one, two) = (SealedTokens::new(keys(&[1, 2])), SealedTokens::new(keys(&[2])));
    let id = Openings::default().new_user(identity("ada")).session.id;
    for kind in [UpstreamTokenKind::Refresh, UpstreamTokenKind::Id, UpstreamTokenKind::Access] {
        let sealed = one.seal(id, kind, &SecretText::new("a token")).unwrap().0;
        assert!(sealed.starts_with(&one.mark()), "{sealed}");
        assert!(!sealed.starts_with(&two.mark()));
    }
}
