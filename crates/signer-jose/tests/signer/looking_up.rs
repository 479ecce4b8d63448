//! Searching the repository for the key of a token.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_domain::model::KeyUse;
use mintgate_domain::ports::VerifyError;

use crate::common::{PUBLISH_AHEAD, Replica, World, kid, opened, ring_config};

/// A token with another `kid`.
fn renamed(token: &str, kid: &str) -> String {
    let mut header: serde_json::Value = serde_json::from_str(&opened(token)[0]).unwrap();
    header["kid"] = kid.into();
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

async fn is_refused(replica: &Replica, token: &str) -> bool {
    matches!(replica.verify(token).await, Err(VerifyError::Refused(_)))
}

#[tokio::test]
async fn a_token_whose_key_is_known_causes_no_search() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let (access, refresh) = (replica.access(), replica.refresh());
    let before = world.repo.lists();
    world.repo.set_down(true);
    for _ in 0..10 {
        world.clock.advance(Duration::from_hours(1));
        replica.verify(&access).await.unwrap();
        replica.verify_refresh(&refresh).await.unwrap();
        assert!(is_refused(&replica, &format!("{access}A")).await);
        assert!(is_refused(&replica, &refresh).await);
        // The ring also knows the keys of the other kind.
        assert!(is_refused(&replica, &renamed(&access, &kid(&refresh))).await);
        // No key can have such a `kid`.
        assert!(is_refused(&replica, &renamed(&access, "' OR 1=1; --")).await);
        assert!(is_refused(&replica, &renamed(&access, &"k".repeat(65))).await);
    }
    assert_eq!(world.repo.lists(), before);
}

#[tokio::test]
async fn a_new_key_is_found_by_the_first_token_that_names_it() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let other = world.started(ring_config()).await;
    world.clock.advance(PUBLISH_AHEAD);
    for _ in 0..2 {
        // Twice, because the replica has read the standby key already.
        for key_use in KeyUse::ALL {
            other.ring.retire(&other.current(key_use).id).await.unwrap();
        }
    }
    let before = world.repo.lists();
    let (access, refresh) = (other.access(), other.refresh());
    let (by_access, by_refresh) =
        tokio::join!(replica.verify(&access), replica.verify_refresh(&refresh));
    by_access.unwrap();
    by_refresh.unwrap();
    assert_eq!(world.repo.lists(), before + 1);
}

#[tokio::test]
async fn many_tokens_of_one_new_key_at_once_cause_one_search() {
    let world = World::default();
    let other = world.started(ring_config()).await;
    let replica = world.replica(ring_config());
    let token = other.access();
    let before = world.repo.lists();
    let ask = || replica.verify(&token);
    let answers = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask(), ask(), ask());
    let answers = [answers.0, answers.1, answers.2, answers.3, answers.4, answers.5, answers.6];
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(world.repo.lists(), before + 1);
}

#[tokio::test]
async fn case_51_ten_thousand_random_kids_cause_one_search_per_second() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let genuine = replica.access();
    let before = world.repo.lists();
    for second in 0..10 {
        for n in 0..1000 {
            let token = renamed(&genuine, &format!("random-{second}-{n}"));
            assert!(is_refused(&replica, &token).await);
            world.clock.advance(Duration::from_micros(999));
        }
        world.clock.advance(Duration::from_millis(1));
        replica.verify(&genuine).await.unwrap();
    }
    assert_eq!(world.repo.lists(), before + 10);
}

#[tokio::test]
async fn a_clock_set_back_does_not_stop_the_searching() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let token = renamed(&replica.access(), "unknown");
    assert!(is_refused(&replica, &token).await);
    let before = world.repo.lists();
    world.clock.set(world.now() - Duration::from_hours(24));
    world.clock.advance(Duration::from_secs(1));
    assert!(is_refused(&replica, &token).await);
    assert_eq!(world.repo.lists(), before + 1);
}

#[tokio::test]
async fn case_44_while_the_repository_is_down_an_unknown_kid_makes_the_keys_unavailable() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let genuine = replica.access();
    let unknown = renamed(&genuine, "unknown");
    world.repo.set_down(true);
    let before = world.repo.lists();
    for _ in 0..10 {
        let verified = replica.verify(&unknown).await;
        assert!(matches!(verified, Err(VerifyError::KeysUnavailable(_))), "{verified:?}");
        replica.verify(&genuine).await.unwrap();
    }
    assert_eq!(
        world.repo.lists(),
        before + 1,
        "a failed search is not repeated within the interval"
    );
    world.repo.set_down(false);
    world.clock.advance(Duration::from_secs(1));
    assert!(is_refused(&replica, &unknown).await);
}
