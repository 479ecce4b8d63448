//! Several replicas with one repository.

use std::time::Duration;

use mintgate_domain::model::KeyUse;
use mintgate_domain::ports::{PublicKeys, TokenSigner};
use mintgate_signer_jose::{KeyRingConfig, RetireOutcome};

use crate::common::{
    PUBLISH_AHEAD, Replica, World, access_token, kid, refresh_claims, refresh_token, ring_config,
};

/// Checks that each replica accepts what the other signs now.
async fn accept_each_other(a: &Replica, b: &Replica) {
    for (signer, verifier) in [(a, b), (b, a), (a, a), (b, b)] {
        verifier.verify(&access_token(&signer.tokens)).await.unwrap();
        verifier.verify_refresh(&refresh_token(&signer.tokens)).await.unwrap();
    }
}

#[tokio::test]
async fn replicas_that_start_at_once_make_one_set_of_keys() {
    let world = World::default();
    let replicas: Vec<Replica> = (0..4).map(|_| world.replica(ring_config())).collect();
    let [a, b, c, d] = replicas.as_slice() else { unreachable!() };
    let changes = tokio::join!(
        a.apply_due_changes(),
        b.apply_due_changes(),
        c.apply_due_changes(),
        d.apply_due_changes()
    );
    let mut changes = [changes.0, changes.1, changes.2, changes.3].concat();
    changes.sort();
    assert_eq!(changes, ["added access 1", "added access 2", "added refresh 1", "added refresh 2"]);
    for replica in &replicas {
        assert_eq!(replica.ring.keys(), a.ring.keys());
        assert!(replica.ring.is_loaded());
    }
    accept_each_other(a, d).await;
}

#[tokio::test]
async fn replicas_whose_rotation_is_due_at_once_rotate_once() {
    let world = World::default();
    let every = Duration::from_hours(1);
    let config = KeyRingConfig { rotate_every: Some(every), ..ring_config() };
    let (a, b) = (world.started(config.clone()).await, world.started(config).await);
    world.clock.advance(every);
    let (changed_a, changed_b) = tokio::join!(a.apply_due_changes(), b.apply_due_changes());
    let mut changes = [changed_a, changed_b].concat();
    changes.sort();
    let once = ["activated access 2", "activated refresh 2", "added access 3", "added refresh 3"];
    assert_eq!(changes, once);
    assert_eq!(a.ring.keys(), b.ring.keys());
    assert_eq!(a.states(KeyUse::Access), ["1 former", "2 current", "3 next"]);
}

#[tokio::test]
async fn two_operators_who_rotate_at_once_rotate_once() {
    let world = World::default();
    let (a, b) = (world.started(ring_config()).await, world.started(ring_config()).await);
    world.clock.advance(PUBLISH_AHEAD);
    let (by_a, by_b) = tokio::join!(a.ring.rotate(KeyUse::Access), b.ring.rotate(KeyUse::Access));
    assert_eq!(by_a.unwrap().id, by_b.unwrap().id);
    assert_eq!(a.states(KeyUse::Access), ["1 former", "2 current", "3 next"]);
}

#[tokio::test]
async fn two_operators_who_retire_at_once_leave_a_complete_ring() {
    let world = World::default();
    let (a, b) = (world.started(ring_config()).await, world.started(ring_config()).await);
    let (stolen, next) = (a.current(KeyUse::Access).id, a.next(KeyUse::Access).id);
    let (current, standby) = tokio::join!(a.ring.retire(&stolen), b.ring.retire(&next));
    assert!(!matches!(current.unwrap(), RetireOutcome::Unknown));
    assert!(!matches!(standby.unwrap(), RetireOutcome::Unknown));
    for replica in [&a, &b] {
        replica.apply_due_changes().await;
        let keys = replica.ring.keys();
        assert!(keys.iter().all(|key| key.id != stolen && key.id != next), "{keys:?}");
        assert_eq!(replica.states(KeyUse::Access).len(), 2);
        replica.verify(&replica.access()).await.unwrap();
    }
    accept_each_other(&a, &b).await;
}

#[tokio::test]
async fn replicas_accept_each_others_tokens_throughout_a_rotation() {
    let world = World::default();
    // Replica b reads the repository only because of the tokens that it sees.
    let (a, b) = (world.started(ring_config()).await, world.started(ring_config()).await);
    accept_each_other(&a, &b).await;
    for round in 0..4 {
        for key_use in KeyUse::ALL {
            world.clock.advance(Duration::from_mins(2));
            a.ring.rotate(key_use).await.unwrap();
            accept_each_other(&a, &b).await;
        }
        world.clock.advance(PUBLISH_AHEAD);
        a.apply_due_changes().await;
        accept_each_other(&a, &b).await;
        assert_ne!(a.states(KeyUse::Access)[0], "1 current", "round {round}");
    }
}

#[tokio::test]
async fn every_replica_signs_a_refresh_token_again_after_a_rotation() {
    let world = World::default();
    let (a, b) = (world.started(ring_config()).await, world.started(ring_config()).await);
    let key_id = a.tokens.refresh_key_id().unwrap();
    let mint = |replica: &Replica| replica.tokens.sign_refresh(&refresh_claims(&key_id)).unwrap();
    let first = mint(&a);
    world.clock.advance(PUBLISH_AHEAD);
    a.ring.rotate(KeyUse::Refresh).await.unwrap();
    assert_ne!(a.tokens.refresh_key_id().unwrap(), key_id);
    // Before and after it has noticed the rotation, and right after its start.
    assert!(mint(&b) == first, "before it has noticed");
    b.ring.load().await.unwrap();
    let c = world.replica(ring_config());
    c.ring.load().await.unwrap();
    for replica in [&a, &b, &c] {
        assert!(mint(replica) == first);
    }
    assert_eq!(kid(first.expose()), key_id.as_str());
}

#[tokio::test]
async fn each_replica_refuses_a_retired_key_after_it_has_loaded() {
    let world = World::default();
    let (a, b) = (world.started(ring_config()).await, world.started(ring_config()).await);
    let token = a.access();
    a.ring.retire(&a.current(KeyUse::Access).id).await.unwrap();
    b.ring.load().await.unwrap();
    assert!(b.verify(&token).await.is_err());
    assert_eq!(b.tokens.jwks(), a.tokens.jwks());
    accept_each_other(&a, &b).await;
}
