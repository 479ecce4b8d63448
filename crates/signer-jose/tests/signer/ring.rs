//! The life of a key: made, published, activated, superseded, removed.

use std::time::Duration;

use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse};
use mintgate_domain::ports::{KeyRepo, PublicKeys, SigningError, TokenSigner, VerifyError};
use mintgate_signer_jose::{
    Algorithm, FixedKeys, KeyRingConfig, KeyRingError, KeySeal, KeyState, RetireOutcome, StoredKeys,
};
use serde_json::Value;

use crate::common::{
    ACCESS_TTL, PUBLISH_AHEAD, REFRESH_TTL, Replica, World, access_claims, fresh, full_grant, kid,
    refresh_claims, ring_config,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
/// How much longer than its last token a former key is kept.
const KEPT_LONGER: Duration = Duration::from_mins(10);

fn published(replica: &Replica) -> Vec<String> {
    let set: Value = serde_json::from_str(&replica.tokens.jwks().unwrap().json).unwrap();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn is_refused<T>(result: &Result<T, VerifyError>) -> bool {
    matches!(result, Err(VerifyError::Refused(_)))
}

#[tokio::test]
async fn a_first_start_makes_a_current_and_a_standby_key() {
    let world = World::default();
    let replica = world.replica(ring_config());
    let made = replica.apply_due_changes().await;
    assert_eq!(made, ["added access 1", "added access 2", "added refresh 1", "added refresh 2"]);
    for key_use in KeyUse::ALL {
        assert_eq!(replica.states(key_use), ["1 current", "2 next"]);
        let (current, next) = (replica.current(key_use), replica.next(key_use));
        assert_eq!((current.created_at, current.activates_at), (world.now(), Some(world.now())));
        assert_eq!((next.created_at, next.activates_at), (world.now(), None));
    }
    assert_eq!(replica.current(KeyUse::Access).algorithm, Some(Algorithm::Es256));
    assert_eq!(replica.current(KeyUse::Refresh).algorithm, Some(Algorithm::Hs256));
    assert_eq!(kid(&replica.access()), replica.current(KeyUse::Access).id.as_str());
    assert_eq!(kid(&replica.refresh()), replica.current(KeyUse::Refresh).id.as_str());
    assert!(replica.apply_due_changes().await.is_empty(), "nothing else is due");
}

#[tokio::test]
async fn before_keys_are_loaded_nothing_is_signed_refused_or_published() {
    let world = World::default();
    let replica = world.replica(ring_config());
    let stranger = World::default().started(ring_config()).await;
    let (provider, grant) = (mintgate_domain::model::ProviderId::new("corp"), full_grant());
    let key_id = KeyId::new("any");
    for round in ["not loaded", "loaded, and empty", "the store is down"] {
        assert!(!replica.ring.is_loaded(), "{round}");
        assert_eq!(replica.tokens.jwks(), None, "{round}");
        assert!(replica.ring.keys().is_empty(), "{round}");
        let access = replica.tokens.sign_access(&access_claims(&provider, &grant));
        assert!(matches!(access, Err(SigningError::KeysUnavailable(_))), "{round}");
        let refresh = replica.tokens.sign_refresh(&refresh_claims(&key_id));
        assert!(matches!(refresh, Err(SigningError::KeysUnavailable(_))), "{round}");
        let id = replica.tokens.refresh_key_id();
        assert!(matches!(id, Err(SigningError::KeysUnavailable(_))), "{round}");
        let verified = replica.verify(&stranger.access()).await;
        assert!(matches!(verified, Err(VerifyError::KeysUnavailable(_))), "{round}: {verified:?}");
        let verified = replica.verify_refresh(&stranger.refresh()).await;
        assert!(matches!(verified, Err(VerifyError::KeysUnavailable(_))), "{round}: {verified:?}");
        // A text that is not a token is refused without a key.
        assert!(is_refused(&replica.verify("garbage").await), "{round}");
        if round == "not loaded" {
            replica.ring.load().await.unwrap();
        } else {
            world.repo.set_down(true);
            assert!(replica.ring.load().await.is_err());
        }
        world.clock.advance(SECOND);
    }
    world.repo.set_down(false);
    replica.apply_due_changes().await;
    assert!(replica.ring.is_loaded());
}

#[tokio::test]
async fn case_50_the_next_key_is_visible_before_it_signs_and_the_former_one_after() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let (first, second) = (replica.current(KeyUse::Access).id, replica.next(KeyUse::Access).id);
    let both = [first.as_str(), second.as_str()];
    assert_eq!(published(&replica), both);
    let before = replica.tokens.jwks().unwrap();
    replica.ring.load().await.unwrap();
    assert_eq!(replica.tokens.jwks().unwrap(), before, "the same keys are the same document");

    world.clock.advance(PUBLISH_AHEAD);
    replica.ring.rotate(KeyUse::Access).await.unwrap();
    assert_eq!(kid(&replica.access()), second.as_str());
    let third = replica.next(KeyUse::Access).id;
    assert_eq!(published(&replica), [first.as_str(), second.as_str(), third.as_str()]);
    assert_ne!(replica.tokens.jwks().unwrap().etag, before.etag);
    // Refresh keys are not published.
    assert!(!published(&replica).contains(&replica.current(KeyUse::Refresh).id.to_string()));
    for member in ["\"d\"", "\"k\"", "\"iat\"", "\"p\"", "\"q\""] {
        assert!(!replica.tokens.jwks().unwrap().json.contains(member), "{member}");
    }
}

#[tokio::test]
async fn a_rotation_waits_until_the_next_key_has_been_published_for_long_enough() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let (first, second) = (replica.current(KeyUse::Access), replica.next(KeyUse::Access));
    world.clock.advance(MINUTE);
    let scheduled = replica.ring.rotate(KeyUse::Access).await.unwrap();
    assert_eq!((&scheduled.id, scheduled.state), (&second.id, KeyState::Next));
    assert_eq!(scheduled.activates_at, Some(second.created_at + PUBLISH_AHEAD));
    assert_eq!(replica.states(KeyUse::Access), ["1 current", "2 next", "3 next"]);
    // A second call gives the same answer and makes no key.
    assert_eq!(replica.ring.rotate(KeyUse::Access).await.unwrap(), scheduled);
    assert!(replica.apply_due_changes().await.is_empty());
    assert_eq!(replica.states(KeyUse::Access), ["1 current", "2 next", "3 next"]);

    world.clock.advance(PUBLISH_AHEAD.saturating_sub(MINUTE + SECOND));
    assert_eq!(kid(&replica.access()), first.id.as_str());
    world.clock.advance(SECOND);
    // The clock alone makes the key current.
    assert_eq!(kid(&replica.access()), second.id.as_str());
    assert_eq!(replica.states(KeyUse::Access), ["1 former", "2 current", "3 next"]);
    assert_eq!(replica.states(KeyUse::Refresh), ["1 current", "2 next"]);
}

#[tokio::test]
async fn a_rotation_is_immediate_once_the_next_key_is_known() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    for key_use in KeyUse::ALL {
        world.clock.advance(PUBLISH_AHEAD);
        let next = replica.next(key_use).id;
        let info = replica.ring.rotate(key_use).await.unwrap();
        assert_eq!((&info.id, info.state), (&next, KeyState::Current));
        assert_eq!(info.activates_at, Some(world.now()));
        assert_eq!(replica.states(key_use), ["1 former", "2 current", "3 next"]);
    }
    assert_eq!(kid(&replica.refresh()), replica.current(KeyUse::Refresh).id.as_str());
}

#[tokio::test]
async fn keys_are_rotated_after_rotate_every() {
    let month = Duration::from_hours(720);
    let config = KeyRingConfig {
        rotate_every: Some(month),
        refresh_ttl: month * 12,
        access_ttl: month * 12,
        ..ring_config()
    };
    let world = World::default();
    let replica = world.started(config).await;
    world.clock.advance(month.saturating_sub(SECOND));
    assert!(replica.apply_due_changes().await.is_empty());
    world.clock.advance(SECOND);
    let rotated =
        ["activated access 2", "added access 3", "activated refresh 2", "added refresh 3"];
    assert_eq!(replica.apply_due_changes().await, rotated);
    assert!(replica.apply_due_changes().await.is_empty());
    // The interval counts from when the current key began to sign.
    world.clock.advance(month.saturating_sub(SECOND));
    assert!(replica.apply_due_changes().await.is_empty());
    world.clock.advance(SECOND);
    assert_eq!(replica.apply_due_changes().await.len(), 4);
    assert_eq!(replica.states(KeyUse::Access), ["1 former", "2 former", "3 current", "4 next"]);
}

#[tokio::test]
async fn a_due_rotation_waits_until_the_next_key_has_been_published_for_long_enough() {
    let config = KeyRingConfig { rotate_every: Some(MINUTE), ..ring_config() };
    let world = World::default();
    let replica = world.started(config).await;
    world.clock.advance(PUBLISH_AHEAD.saturating_sub(SECOND));
    assert!(replica.apply_due_changes().await.is_empty());
    world.clock.advance(SECOND);
    assert_eq!(replica.apply_due_changes().await[0], "activated access 2");
}

#[tokio::test]
async fn case_50_a_former_access_key_is_removed_after_its_last_token_has_expired_and_not_before() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let token = replica.access();
    world.clock.advance(PUBLISH_AHEAD);
    let first = replica.current(KeyUse::Access).id;
    replica.ring.rotate(KeyUse::Access).await.unwrap();
    world.clock.advance(ACCESS_TTL + KEPT_LONGER);
    assert!(replica.apply_due_changes().await.is_empty());
    replica.verify(&token).await.unwrap();
    assert!(published(&replica).contains(&first.to_string()));

    world.clock.advance(SECOND);
    assert_eq!(replica.apply_due_changes().await, ["removed access 1"]);
    assert!(is_refused(&replica.verify(&token).await));
    assert!(!published(&replica).contains(&first.to_string()));
    assert_eq!(replica.states(KeyUse::Access), ["2 current", "3 next"]);
}

#[tokio::test]
async fn a_former_refresh_key_stays_as_long_as_a_session_depends_on_it() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let token = replica.refresh();
    let first = replica.current(KeyUse::Refresh).id;
    world.sessions.0.lock().unwrap().insert(first.clone());
    world.clock.advance(PUBLISH_AHEAD);
    replica.ring.rotate(KeyUse::Refresh).await.unwrap();
    world.clock.advance(REFRESH_TTL + KEPT_LONGER);
    world.sessions.0.lock().unwrap().clear();
    assert!(replica.apply_due_changes().await.is_empty(), "its tokens may not have expired");
    world.clock.advance(SECOND);
    world.sessions.0.lock().unwrap().insert(first.clone());
    assert!(replica.apply_due_changes().await.is_empty(), "a session depends on it");
    replica.verify_refresh(&token).await.unwrap();
    assert!(replica.tokens.sign_refresh(&refresh_claims(&first)).is_ok());

    world.sessions.0.lock().unwrap().clear();
    assert_eq!(replica.apply_due_changes().await, ["removed refresh 1"]);
    assert!(is_refused(&replica.verify_refresh(&token).await));
    let signed = replica.tokens.sign_refresh(&refresh_claims(&first));
    assert!(matches!(signed, Err(SigningError::Failed(_))), "{signed:?}");
}

#[tokio::test]
async fn a_session_that_depends_on_one_key_keeps_no_other() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    world.sessions.0.lock().unwrap().insert(replica.current(KeyUse::Refresh).id);
    for _ in 0..2 {
        world.clock.advance(PUBLISH_AHEAD);
        replica.ring.rotate(KeyUse::Refresh).await.unwrap();
    }
    world.clock.advance(REFRESH_TTL * 2);
    assert_eq!(replica.apply_due_changes().await, ["removed refresh 2"]);
    assert_eq!(replica.states(KeyUse::Refresh), ["1 former", "3 current", "4 next"]);
}

#[tokio::test]
async fn retiring_the_current_key_refuses_its_tokens_and_has_the_next_one_sign_at_once() {
    for key_use in KeyUse::ALL {
        let world = World::default();
        let replica = world.started(ring_config()).await;
        let (access, refresh) = (replica.access(), replica.refresh());
        let (stolen, next) = (replica.current(key_use).id, replica.next(key_use).id);
        let outcome = replica.ring.retire(&stolen).await.unwrap();
        assert_eq!(outcome, RetireOutcome::Replaced(replica.current(key_use)));
        assert_eq!(replica.current(key_use).id, next);
        assert_eq!(replica.states(key_use), ["2 current", "3 next"]);
        let access_refused = is_refused(&replica.verify(&access).await);
        let refresh_refused = is_refused(&replica.verify_refresh(&refresh).await);
        assert_eq!(access_refused, key_use == KeyUse::Access);
        assert_eq!(refresh_refused, key_use == KeyUse::Refresh);
        replica.verify(&replica.access()).await.unwrap();
        replica.verify_refresh(&replica.refresh()).await.unwrap();
        let gone = world.repo.list_keys().await.unwrap().iter().all(|record| record.id != stolen);
        assert!(gone, "its private part is still there");
        assert_eq!(replica.ring.retire(&stolen).await.unwrap(), RetireOutcome::Unknown);
    }
}

#[tokio::test]
async fn retiring_the_next_or_a_former_key_leaves_the_one_that_signs() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let token = replica.access();
    world.clock.advance(PUBLISH_AHEAD);
    replica.ring.rotate(KeyUse::Access).await.unwrap();
    let current = replica.current(KeyUse::Access).id;
    let next = replica.next(KeyUse::Access).id;
    assert_eq!(replica.ring.retire(&next).await.unwrap(), RetireOutcome::Removed);
    assert_eq!(replica.states(KeyUse::Access), ["1 former", "2 current", "3 next"]);
    assert_ne!(replica.next(KeyUse::Access).id, next);

    let former = KeyId::new(kid(&token));
    assert_eq!(replica.ring.retire(&former).await.unwrap(), RetireOutcome::Removed);
    assert!(is_refused(&replica.verify(&token).await));
    assert_eq!(replica.states(KeyUse::Access), ["2 current", "3 next"]);
    assert_eq!(replica.current(KeyUse::Access).id, current);
    let unknown = replica.ring.retire(&KeyId::new("none")).await.unwrap();
    assert_eq!(unknown, RetireOutcome::Unknown);
}

#[tokio::test]
async fn retiring_a_scheduled_key_cancels_the_rotation() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let scheduled = replica.ring.rotate(KeyUse::Access).await.unwrap();
    replica.ring.retire(&scheduled.id).await.unwrap();
    assert_eq!(replica.states(KeyUse::Access), ["1 current", "3 next"]);
    world.clock.advance(PUBLISH_AHEAD * 2);
    assert_eq!(replica.states(KeyUse::Access), ["1 current", "3 next"]);
}

#[tokio::test]
async fn retiring_the_current_key_brings_a_scheduled_rotation_forward() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let scheduled = replica.ring.rotate(KeyUse::Access).await.unwrap();
    replica.ring.retire(&replica.current(KeyUse::Access).id).await.unwrap();
    let current = replica.current(KeyUse::Access);
    assert_eq!((current.id, current.activates_at), (scheduled.id, Some(world.now())));
}

#[tokio::test]
async fn another_configured_algorithm_causes_a_rotation() {
    let world = World::default();
    let before = world.started(ring_config()).await;
    let (access, refresh) = (before.access(), before.refresh());
    let config =
        KeyRingConfig { access: Algorithm::EdDsa, refresh: Algorithm::EdDsa, ..ring_config() };
    let replica = world.replica(config);
    assert_eq!(replica.apply_due_changes().await, ["added access 3", "added refresh 3"]);
    assert_eq!(replica.current(KeyUse::Access).algorithm, Some(Algorithm::Es256));
    assert_eq!(replica.states(KeyUse::Access), ["1 current", "2 next", "3 next"]);
    // The key set names the algorithms of the current, next and former keys.
    let algorithms = || replica.tokens.jwks().unwrap().algorithms.clone();
    assert_eq!(algorithms(), ["ES256", "EdDSA"]);
    world.clock.advance(PUBLISH_AHEAD.saturating_sub(SECOND));
    assert!(replica.apply_due_changes().await.is_empty());

    world.clock.advance(SECOND);
    let changes = replica.apply_due_changes().await;
    assert_eq!(changes[..2], ["activated access 3", "added access 4"]);
    // The rotation passed over this key, so it has signed nothing.
    assert_eq!(changes[2], "removed access 2");
    for key_use in KeyUse::ALL {
        assert_eq!(replica.states(key_use), ["1 former", "3 current", "4 next"]);
        assert_eq!(replica.current(key_use).algorithm, Some(Algorithm::EdDsa));
    }
    assert_eq!(algorithms(), ["ES256", "EdDSA"]);
    assert!(replica.apply_due_changes().await.is_empty());
    replica.verify(&access).await.unwrap();
    replica.verify_refresh(&refresh).await.unwrap();
    before.verify(&replica.access()).await.unwrap();
}

#[tokio::test]
async fn replicas_configured_differently_do_not_fill_the_ring() {
    let world = World::default();
    // This keeps every former key until the end.
    let config = KeyRingConfig { access_ttl: REFRESH_TTL, ..ring_config() };
    let old = world.started(config.clone()).await;
    let new = world.started(KeyRingConfig { access: Algorithm::EdDsa, ..config }).await;
    for _ in 0..50 {
        world.clock.advance(PUBLISH_AHEAD);
        old.apply_due_changes().await;
        new.apply_due_changes().await;
        new.verify(&old.access()).await.unwrap();
        assert!(new.states(KeyUse::Access).len() <= 10, "{:?}", new.states(KeyUse::Access));
    }
    // An operator can still rotate.
    let rotated = new.ring.rotate(KeyUse::Access).await.unwrap();
    assert_eq!(rotated.algorithm, Some(Algorithm::EdDsa));
}

#[tokio::test]
async fn fixed_keys_are_not_changed_by_the_ring() {
    let world = World::default();
    let access = fresh(Algorithm::Es256);
    let id = access.id().clone();
    let fixed = FixedKeys { access: Some(access), refresh: None };
    let replica = world.replica_with(ring_config(), KeySeal::Plain, fixed);
    assert!(!replica.ring.is_loaded());
    assert_eq!(published(&replica), [id.as_str()]);
    assert_eq!(replica.apply_due_changes().await, ["added refresh 1", "added refresh 2"]);
    assert!(replica.ring.is_loaded());
    let info = replica.current(KeyUse::Access);
    assert_eq!((info.number, &info.id, info.state), (None, &id, KeyState::Current));
    for error in [
        replica.ring.rotate(KeyUse::Access).await.unwrap_err(),
        replica.ring.retire(&id).await.unwrap_err(),
    ] {
        assert!(matches!(error, KeyRingError::Fixed(KeyUse::Access)), "{error}");
    }
    replica.ring.rotate(KeyUse::Refresh).await.unwrap();
    replica.verify(&replica.access()).await.unwrap();
    // Stored keys of that use are not used.
    let other = world.started(ring_config()).await;
    assert!(is_refused(&replica.verify(&other.access()).await));
    replica.verify_refresh(&other.refresh()).await.unwrap();
}

#[tokio::test]
async fn a_ring_of_fixed_keys_needs_no_repository() {
    let world = World::default();
    let stored = || Some(StoredKeys { repo: world.repo.clone(), seal: KeySeal::Plain });
    for stored in [None, stored()] {
        let fixed = FixedKeys {
            access: Some(fresh(Algorithm::Es256)),
            refresh: Some(fresh(Algorithm::Hs256)),
        };
        let replica = world.replica_of(ring_config(), stored, fixed).unwrap();
        assert!(replica.ring.is_loaded());
        replica.ring.load().await.unwrap();
        assert!(replica.apply_due_changes().await.is_empty());
        replica.verify(&replica.access()).await.unwrap();
        let stranger = World::default().started(ring_config()).await;
        assert!(is_refused(&replica.verify(&stranger.access()).await));
    }
    assert_eq!(world.repo.lists(), 0);
}

#[test]
fn a_ring_without_a_repository_needs_a_fixed_key_for_each_use() {
    let world = World::default();
    let access = || Some(fresh(Algorithm::Es256));
    for (access, missing) in [(None, KeyUse::Access), (access(), KeyUse::Refresh)] {
        let fixed = FixedKeys { access, refresh: None };
        let error = world.replica_of(ring_config(), None, fixed).err();
        assert!(matches!(error, Some(KeyRingError::NotStored(key_use)) if key_use == missing));
    }
}

#[tokio::test]
async fn a_failed_load_keeps_the_last_good_keys() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let (access, keys) = (replica.access(), replica.ring.keys());
    world.repo.set_down(true);
    let error = replica.ring.load().await.unwrap_err();
    assert!(matches!(error, KeyRingError::Store(_)), "{error}");
    world.repo.set_down(false);
    world.repo.forge(|records| records[1].material = SecretText::new("{}"));
    let error = replica.ring.load().await.unwrap_err();
    assert!(matches!(error, KeyRingError::BadKey { number: 2, .. }), "{error}");
    world.repo.forge(|records| records[0].id = KeyId::new("another"));
    let error = replica.ring.load().await.unwrap_err();
    assert!(matches!(error, KeyRingError::BadKey { number: 1, .. }), "{error}");
    world.repo.forge(|records| records[0].key_use = KeyUse::Refresh);
    let error = replica.ring.load().await.unwrap_err();
    assert!(matches!(error, KeyRingError::NotDeterministic(Algorithm::Es256)), "{error}");
    assert_eq!(replica.ring.keys(), keys);
    assert!(replica.ring.is_loaded());
    replica.verify(&access).await.unwrap();
    replica.access();
}

#[tokio::test]
async fn a_replica_whose_clock_is_behind_signs_with_the_current_key() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let before = kid(&replica.access());
    world.clock.set(world.now() - Duration::from_mins(5));
    let late = world.started(ring_config()).await;
    for replica in [&replica, &late] {
        assert!(replica.ring.is_loaded());
        assert_eq!(kid(&replica.access()), before);
        assert!(replica.apply_due_changes().await.is_empty());
    }
}

#[tokio::test]
async fn a_use_without_an_active_key_activates_its_standby_key() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    world.repo.forge(|records| records.iter_mut().for_each(|record| record.activates_at = None));
    let other = world.replica(ring_config());
    other.ring.load().await.unwrap();
    assert!(!other.ring.is_loaded());
    world.repo.forge_no_more();
    let repo = &world.repo.store;
    let access = replica.current(KeyUse::Access).id;
    // A crash could leave this: a standby key and no current key.
    repo.remove_key(KeyUse::Access, &access).await.unwrap();
    assert_eq!(other.apply_due_changes().await, ["activated access 2", "added access 3"]);
    assert_eq!(other.states(KeyUse::Access), ["2 current", "3 next"]);
}

#[tokio::test]
async fn a_refresh_algorithm_that_is_not_deterministic_is_refused() {
    let world = World::default();
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ps256] {
        let config = KeyRingConfig { refresh: algorithm, ..ring_config() };
        let stored = StoredKeys { repo: world.repo.clone(), seal: KeySeal::Plain };
        let ring = world.replica_of(config, Some(stored), FixedKeys::default());
        assert!(matches!(ring, Err(KeyRingError::NotDeterministic(named)) if named == algorithm));
    }
}

/// Lets the repository answer these keys as a later version with another algorithm would store them.
fn use_an_unknown_algorithm(world: &World, key_use: KeyUse, numbers: &'static [u32]) {
    world.repo.forge(move |records| {
        let is_named =
            |key: &&mut KeyRecord| key.key_use == key_use && numbers.contains(&key.number);
        for record in records.iter_mut().filter(is_named) {
            let mut jwk: Value = serde_json::from_str(record.material.expose()).unwrap();
            jwk["alg"] = "ML-DSA-65".into();
            record.material = SecretText::new(jwk.to_string());
        }
    });
}

#[tokio::test]
async fn a_key_of_an_unknown_algorithm_is_listed_but_neither_signs_verifies_nor_is_published() {
    let world = World::default();
    let newer = world.started(ring_config()).await;
    let (access, refresh) = (newer.access(), newer.refresh());
    let unknown = newer.current(KeyUse::Access);
    use_an_unknown_algorithm(&world, KeyUse::Access, &[1]);
    let replica = world.replica(ring_config());
    assert_eq!(replica.apply_due_changes().await, ["activated access 2", "added access 3"]);
    assert_eq!(replica.states(KeyUse::Access), ["1 unusable", "2 current", "3 next"]);
    assert_eq!(replica.states(KeyUse::Refresh), ["1 current", "2 next"]);
    let listed = replica.ring.keys().remove(0);
    assert_eq!((&listed.id, listed.algorithm), (&unknown.id, None));
    assert_eq!(listed.activates_at, unknown.activates_at);

    assert_eq!(kid(&replica.access()), replica.current(KeyUse::Access).id.as_str());
    assert!(!published(&replica).contains(&unknown.id.to_string()));
    let readings = world.repo.lists();
    assert!(is_refused(&replica.verify(&access).await));
    assert_eq!(world.repo.lists(), readings, "the ring knows the key, so it does not search");
    replica.verify_refresh(&refresh).await.unwrap();
}

#[tokio::test]
async fn keys_of_an_unknown_algorithm_only_are_joined_by_keys_with_higher_numbers() {
    let world = World::default();
    world.started(ring_config()).await;
    for key_use in KeyUse::ALL {
        use_an_unknown_algorithm(&world, key_use, &[1, 2]);
        let replica = world.replica(ring_config());
        replica.ring.load().await.unwrap();
        assert!(!replica.ring.is_loaded());
        replica.apply_due_changes().await;
        assert_eq!(replica.states(key_use), ["1 unusable", "2 unusable", "3 current", "4 next"]);
    }
}

#[tokio::test]
async fn a_key_of_an_unknown_algorithm_is_removed_by_retiring_it_only() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let unknown = replica.current(KeyUse::Access).id;
    use_an_unknown_algorithm(&world, KeyUse::Access, &[1]);
    replica.apply_due_changes().await;
    world.clock.advance(REFRESH_TTL * 2);
    assert!(replica.apply_due_changes().await.is_empty());
    assert_eq!(replica.states(KeyUse::Access), ["1 unusable", "2 current", "3 next"]);
    assert_eq!(replica.ring.retire(&unknown).await.unwrap(), RetireOutcome::Removed);
    assert_eq!(replica.states(KeyUse::Access), ["2 current", "3 next"]);
}
