//! Signing in again with the same idempotency key: a lost answer costs nobody a login.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mintgate_domain::AuthError;
use mintgate_domain::model::RevokeReason;
use mintgate_domain::ports::{IdempotencyRecords as _, UserDirectory as _};
use mintgate_testkit::StoreUnderTest as _;

use super::rig::{Rig, presented, request};

const KEY: Option<(&str, &str)> = Some(("a-key-of-the-client", "the body"));

#[tokio::test]
async fn the_same_request_gets_the_same_session_and_the_same_refresh_token() {
    let rig = Rig::new();
    let first = rig.issue.issue(&request("ada", KEY)).await.unwrap();
    let stored = rig.store.dump().await;
    rig.clock.advance(Duration::from_secs(59));
    let again = rig.issue.issue(&request("ada", KEY)).await.unwrap();
    assert_eq!(again.session, first.session);
    assert_eq!(again.refresh.expose(), first.refresh.expose());
    assert_eq!(rig.store.dump().await, stored);
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn after_a_minute_the_code_is_used_up_as_without_a_key() {
    let rig = Rig::new();
    rig.issue.issue(&request("ada", KEY)).await.unwrap();
    rig.clock.advance(Duration::from_mins(1));
    let refused = rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_AUTH_CODE");
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused_and_asks_nobody() {
    let rig = Rig::new();
    rig.issue.issue(&request("ada", KEY)).await.unwrap();
    let before = rig.store.dump().await;
    let other = Some(("a-key-of-the-client", "another body"));
    let refused = rig.issue.issue(&request("bob", other)).await.unwrap_err();
    assert_eq!(refused, AuthError::IdempotencyKeyReused);
    assert_eq!(rig.store.dump().await, before);
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_a_key_a_code_works_once() {
    let rig = Rig::new();
    rig.issue.issue(&request("ada", None)).await.unwrap();
    let refused = rig.issue.issue(&request("ada", None)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_AUTH_CODE");
}

#[tokio::test]
async fn a_session_that_went_on_or_ended_is_not_handed_out_again() {
    let rig = Rig::new();
    let first = rig.issue.issue(&request("ada", KEY)).await.unwrap();
    rig.refresh(&first.refresh).await.unwrap();
    let refused = rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_AUTH_CODE");
    rig.own.log_out_everywhere(&presented(&first.access)).await.unwrap();
    let refused = rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    assert_eq!(refused, AuthError::SessionRevoked(RevokeReason::Logout));
}

#[tokio::test]
async fn a_sign_in_that_could_not_be_stored_is_stored_when_it_is_asked_for_again() {
    let rig = Rig::new();
    rig.disturbed.0.fails_openings.store(true, Ordering::SeqCst);
    let failed = rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    assert_eq!(failed.code().as_str(), "STORE_UNAVAILABLE");
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 1);
    rig.disturbed.0.fails_openings.store(false, Ordering::SeqCst);
    rig.issue.issue(&request("ada", KEY)).await.unwrap();
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_sign_in_that_could_not_be_stored_is_for_the_same_body_alone() {
    let rig = Rig::new();
    rig.disturbed.0.fails_openings.store(true, Ordering::SeqCst);
    rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    rig.disturbed.0.fails_openings.store(false, Ordering::SeqCst);
    let other = Some(("a-key-of-the-client", "another body"));
    let refused = rig.issue.issue(&request("ada", other)).await.unwrap_err();
    assert_eq!(refused, AuthError::IdempotencyKeyReused);
    rig.issue.issue(&request("ada", KEY)).await.unwrap();
}

#[tokio::test]
async fn a_sign_in_that_could_not_be_stored_is_forgotten_after_a_minute() {
    let rig = Rig::new();
    rig.disturbed.0.fails_openings.store(true, Ordering::SeqCst);
    rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    rig.disturbed.0.fails_openings.store(false, Ordering::SeqCst);
    rig.clock.advance(Duration::from_mins(1));
    let refused = rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_AUTH_CODE");
}

#[tokio::test]
async fn a_key_that_another_replica_holds_asks_no_provider_until_it_is_free() {
    let rig = Rig::new();
    let (held, lease) = (request("ada", KEY), Duration::from_mins(1));
    let key = held.idempotency.expect("a key");
    let other = [7; 16];
    rig.store.reserve(&key, &other, lease, rig.now()).await.unwrap();
    let before = rig.store.dump().await;
    let refused = rig.issue.issue(&held).await.unwrap_err();
    assert_eq!(refused, AuthError::SignInUnderWay);
    let another_body = request("bob", Some(("a-key-of-the-client", "another body")));
    let refused = rig.issue.issue(&another_body).await.unwrap_err();
    assert_eq!(refused, AuthError::IdempotencyKeyReused);
    assert_eq!(rig.store.dump().await, before);
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 0);
    // As after a crash of the other one.
    rig.clock.advance(lease);
    rig.issue.issue(&held).await.unwrap();
}

#[tokio::test]
async fn a_refused_sign_in_gives_its_key_back() {
    let rig = Rig::new();
    rig.provider.refuses.store(true, Ordering::SeqCst);
    let before = rig.store.dump().await;
    rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    assert_eq!(rig.store.dump().await, before);
}

#[tokio::test]
async fn a_repeat_gives_nothing_to_a_person_who_was_disabled_or_signed_out_meanwhile() {
    let rig = Rig::new();
    let first = rig.issue.issue(&request("ada", KEY)).await.unwrap();
    let reason = RevokeReason::Admin;
    rig.people.end_user_sessions(first.user, reason, rig.now()).await.unwrap();
    let refused = rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
    let rig = Rig::new();
    let first = rig.issue.issue(&request("ada", KEY)).await.unwrap();
    rig.store.disable_user(first.user, rig.now()).await;
    let refused = rig.issue.issue(&request("ada", KEY)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "ACCESS_DENIED");
}

#[tokio::test]
async fn an_answer_given_meanwhile_is_found_when_the_key_turns_out_to_be_taken() {
    let rig = Rig::new();
    let first = rig.issue.issue(&request("ada-1", KEY)).await.unwrap();
    // A code of its own, which this process takes to the provider.
    rig.disturbed.0.hides_an_opening.store(true, Ordering::SeqCst);
    let again = rig.issue.issue(&request("ada-2", KEY)).await.unwrap();
    assert_eq!(again.refresh.expose(), first.refresh.expose());
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 2);
}
