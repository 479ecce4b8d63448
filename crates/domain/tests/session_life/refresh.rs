//! Refreshing: one successor for a token, however it is asked for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mintgate_domain::model::{LostAnswer, RevokeReason, Session, SessionId};
use mintgate_domain::ports::{RefreshLimit, RefreshTokenRepo as _, SigningError, StoreError};
use mintgate_domain::{AuthError, PresentedToken, RefreshConfig, TokenDelivery, TokenHash};
use mintgate_testkit::StoreUnderTest as _;

use super::rig::{DAY, GRACE, Rig, presented, refresh_config};

async fn session(rig: &Rig, id: SessionId) -> Session {
    rig.store.load(id).await.unwrap().expect("a session").session
}

#[tokio::test]
async fn a_refresh_answers_the_next_generation_and_a_new_access_token() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    rig.clock.advance(Duration::from_mins(50));
    let second = rig.refresh(&first.refresh).await.unwrap();
    assert_eq!((second.session, second.user), (first.session, first.user));
    assert_ne!(second.access.expose(), first.access.expose());
    assert_eq!(second.access_expires_in, Duration::from_hours(1));
    assert_eq!(second.refresh_expires_in, DAY * 30);
    let stored = session(&rig, first.session).await;
    assert_eq!(stored.refresh.generation, 1);
    assert_eq!(stored.refresh.hash, TokenHash::of(second.refresh.expose()));
    assert_eq!(stored.last_used_at, rig.now());
    assert_eq!(rig.refreshes(), ["rotated"]);
}

#[tokio::test]
async fn a_refresh_in_cookies_sets_both_for_as_long_as_the_tokens_live() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    rig.clock.advance(DAY * 10);
    let token = presented(&first.refresh);
    let answer = rig.refresh.refresh(&token, TokenDelivery::Cookie, None).await.unwrap();
    let cookies = answer.cookies.expect("cookies").map(|cookie| cookie.expose().to_owned());
    assert_eq!(cookies, ["3600", "2592000"]);
}

#[tokio::test]
async fn case_42_the_token_before_is_answered_with_the_same_bytes_within_the_window() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    let second = rig.refresh(&first.refresh).await.unwrap();
    let within = GRACE.saturating_sub(Duration::from_secs(1));
    rig.clock.advance(within);
    let again = rig.refresh(&first.refresh).await.unwrap();
    assert_eq!(again.refresh.expose(), second.refresh.expose());
    assert_eq!(again.refresh_expires_in + within, DAY * 30);
    assert_eq!(session(&rig, first.session).await.refresh.generation, 1);
    assert_eq!(rig.refreshes(), ["rotated", "replayed"]);
}

#[tokio::test]
async fn a_replay_after_a_key_rotation_still_gives_the_same_bytes() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    let second = rig.refresh(&first.refresh).await.unwrap();
    rig.tokens.rotate_key("refresh-2");
    let again = rig.refresh(&first.refresh).await.unwrap();
    assert_eq!(again.refresh.expose(), second.refresh.expose());
    let third = rig.refresh(&second.refresh).await.unwrap();
    assert!(third.refresh.expose().ends_with("|refresh-2"));
}

#[tokio::test]
async fn case_42_after_the_window_the_token_before_ends_the_session() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    let second = rig.refresh(&first.refresh).await.unwrap();
    rig.clock.advance(GRACE);
    let refused = rig.refresh(&first.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::RefreshTokenReused);
    let refused = rig.refresh(&second.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::SessionRevoked(RevokeReason::Reuse));
    assert_eq!(rig.refreshes(), ["rotated", "reused", "revoked"]);
    assert_eq!(rig.revocations(), [("reuse", 1)]);
}

#[tokio::test]
async fn case_42_once_the_successor_was_used_the_token_ends_the_session() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    let second = rig.refresh(&first.refresh).await.unwrap();
    rig.refresh(&second.refresh).await.unwrap();
    let refused = rig.refresh(&first.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::RefreshTokenReused);
}

#[tokio::test]
async fn one_after_another_ten_replays_are_answered_and_the_eleventh_is_reuse() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    rig.refresh(&first.refresh).await.unwrap();
    for _ in 0..10 {
        rig.refresh(&first.refresh).await.unwrap();
    }
    let refused = rig.refresh(&first.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::RefreshTokenReused);
}

#[tokio::test]
async fn case_41_replays_that_come_at_once_do_not_count_towards_the_limit() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    let second = rig.refresh(&first.refresh).await.unwrap();
    let tab = async || {
        for _ in 0..12 {
            let again = rig.refresh(&first.refresh).await.unwrap();
            assert_eq!(again.refresh.expose(), second.refresh.expose());
        }
    };
    tokio::join!(tab(), tab());
    assert_eq!(session(&rig, first.session).await.refresh.generation, 1);
}

#[tokio::test]
async fn until_used_a_lost_successor_is_replaced_and_works_no_more() {
    let config = RefreshConfig { lost_answer: LostAnswer::UntilUsed, ..refresh_config() };
    let rig = Rig::with(config);
    let first = rig.sign_in("ada").await;
    let lost = rig.refresh(&first.refresh).await.unwrap();
    rig.clock.advance(DAY);
    let other = rig.refresh(&first.refresh).await.unwrap();
    assert_ne!(other.refresh.expose(), lost.refresh.expose());
    assert_eq!(session(&rig, first.session).await.refresh.generation, 2);
    rig.refresh(&other.refresh).await.unwrap();
    let refused = rig.refresh(&lost.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::RefreshTokenReused);
}

#[tokio::test]
async fn case_43_the_absolute_limit_never_moves_and_caps_every_token() {
    let rig = Rig::new();
    let mut tokens = rig.sign_in("ada").await;
    let limit = session(&rig, tokens.session).await.absolute_expires_at;
    for _ in 0..4 {
        rig.clock.advance(DAY * 20);
        tokens = rig.refresh(&tokens.refresh).await.unwrap();
        let stored = session(&rig, tokens.session).await;
        assert_eq!(stored.absolute_expires_at, limit);
        assert_eq!(stored.refresh.expires_at, (rig.now() + DAY * 30).min(limit));
    }
    // Ten days are left, then half an hour.
    assert_eq!(tokens.refresh_expires_in, DAY * 10);
    rig.clock.advance(DAY * 9 + Duration::from_mins(23 * 60 + 30));
    tokens = rig.refresh(&tokens.refresh).await.unwrap();
    assert_eq!(tokens.access_expires_in, Duration::from_mins(30));
    rig.clock.advance(Duration::from_mins(30));
    let refused = rig.refresh(&tokens.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::RefreshTokenExpired);
}

#[tokio::test]
async fn a_session_opened_under_another_absolute_limit_keeps_its_own() {
    for session_ttl in [DAY * 10, DAY * 365] {
        let rig = Rig::with(RefreshConfig { session_ttl, ..refresh_config() });
        let first = rig.sign_in("ada").await;
        let limit = session(&rig, first.session).await.absolute_expires_at;
        rig.clock.advance(DAY * 29);
        let second = rig.refresh(&first.refresh).await.unwrap();
        rig.clock.advance(DAY * 29);
        let third = rig.refresh(&second.refresh).await.unwrap();
        rig.clock.advance(DAY * 29);
        let fourth = rig.refresh(&third.refresh).await.unwrap();
        assert_eq!(fourth.refresh_expires_in, DAY * 3, "with a guess of {session_ttl:?}");
        assert_eq!(session(&rig, first.session).await.absolute_expires_at, limit);
    }
}

#[tokio::test]
async fn an_idle_session_is_told_as_expired_without_a_change() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    rig.clock.advance(DAY * 30);
    let before = rig.store.dump().await;
    let refused = rig.refresh(&first.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::RefreshTokenExpired);
    assert_eq!(rig.store.dump().await, before);
    assert_eq!(rig.refreshes(), ["expired"]);
}

#[tokio::test]
async fn an_expired_token_is_refused_without_the_store() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    rig.store.set_fault(Some(StoreError::Unavailable("down".into())));
    rig.clock.advance(DAY * 30);
    let refused = rig.refresh(&first.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::RefreshTokenExpired);
}

#[tokio::test]
async fn case_40_what_is_no_refresh_token_is_refused_and_ends_nothing() {
    let rig = Rig::new();
    let tokens = rig.sign_in("ada").await;
    let other = rig.sign_in("bob").await;
    let before = rig.store.dump().await;
    let foreign =
        tokens.refresh.expose().replace(&tokens.user.to_string(), &other.user.to_string());
    let unknown = tokens.refresh.expose().replace(&tokens.session.to_string(), &"0".repeat(32));
    let newer = tokens.refresh.expose().replacen("|0|", "|7|", 1);
    for text in [tokens.access.expose(), "", "garbage", &foreign, &unknown, &newer] {
        let token = PresentedToken::new(text);
        let refused = rig.refresh.refresh(&token, TokenDelivery::Body, None).await.unwrap_err();
        assert_eq!(refused.code().as_str(), "INVALID_REFRESH_TOKEN", "{text}");
    }
    assert_eq!(rig.store.dump().await, before);
    assert_eq!(rig.refreshes(), ["invalid"; 6]);
    rig.refresh(&tokens.refresh).await.unwrap();
}

/// Allows no refresh, and remembers which sessions asked.
#[derive(Default)]
struct NoRefresh(std::sync::Mutex<Vec<SessionId>>);

impl RefreshLimit for NoRefresh {
    fn take(&self, session: SessionId) -> Result<(), Duration> {
        self.0.lock().unwrap().push(session);
        Err(Duration::from_secs(7))
    }
}

#[tokio::test]
async fn a_refresh_beyond_the_limit_changes_nothing_and_only_a_genuine_token_counts() {
    let (rig, limit) = (Rig::new(), NoRefresh::default());
    let tokens = rig.sign_in("ada").await;
    let before = rig.store.dump().await;
    let refresh = async |text: &str| {
        let token = PresentedToken::new(text);
        rig.refresh.refresh(&token, TokenDelivery::Body, Some(&limit)).await.unwrap_err()
    };
    assert_eq!(refresh("garbage").await.code().as_str(), "INVALID_REFRESH_TOKEN");
    assert!(limit.0.lock().unwrap().is_empty());
    let wait = Duration::from_secs(7);
    assert_eq!(refresh(tokens.refresh.expose()).await, AuthError::RefreshedTooOften { wait });
    assert_eq!(*limit.0.lock().unwrap(), [tokens.session]);
    assert_eq!(rig.store.dump().await, before);
    assert_eq!(rig.refreshes(), ["invalid", "limited"]);
    rig.refresh(&tokens.refresh).await.unwrap();
}

#[tokio::test]
async fn case_32_a_disabled_user_loses_every_session() {
    let rig = Rig::new();
    let here = rig.sign_in("ada-1").await;
    let there = rig.sign_in("ada-2").await;
    let bob = rig.sign_in("bob").await;
    rig.store.disable_user(here.user, rig.now()).await;
    let denied = AuthError::AccessDenied("the user is disabled".into());
    assert_eq!(rig.refresh(&here.refresh).await.unwrap_err(), denied);
    for id in [here.session, there.session] {
        let end = session(&rig, id).await.end.expect("an end");
        assert_eq!(end.reason, RevokeReason::UserDisabled);
    }
    assert_eq!(rig.refresh(&there.refresh).await.unwrap_err(), denied);
    assert_eq!(rig.revocations(), [("user_disabled", 2)]);
    rig.refresh(&bob.refresh).await.unwrap();
}

#[tokio::test]
async fn a_store_in_doubt_is_no_refusal_and_the_token_works_afterwards() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    let fault = StoreError::Unavailable("down".into());
    rig.store.set_fault(Some(fault.clone()));
    assert_eq!(rig.refresh(&first.refresh).await.unwrap_err(), AuthError::Store(fault));
    rig.store.set_fault(None);
    rig.refresh(&first.refresh).await.unwrap();
    assert_eq!(rig.refreshes(), ["failed", "rotated"]);
}

#[tokio::test]
async fn missing_keys_are_no_refusal_either() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    rig.tokens.unavailable.store(true, Ordering::SeqCst);
    let error = rig.refresh(&first.refresh).await.unwrap_err();
    assert!(matches!(error, AuthError::Signing(SigningError::KeysUnavailable(_))));
    assert_eq!(error.code().as_str(), "STORE_UNAVAILABLE");
    rig.tokens.unavailable.store(false, Ordering::SeqCst);
    rig.refresh(&first.refresh).await.unwrap();
}

#[tokio::test]
async fn body_delivery_must_be_allowed() {
    let config = RefreshConfig { body_delivery: false, ..refresh_config() };
    let rig = Rig::with(config);
    let first = rig.sign_in("ada").await;
    let refused = rig.refresh(&first.refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_REQUEST");
    let token = presented(&first.refresh);
    rig.refresh.refresh(&token, TokenDelivery::Cookie, None).await.unwrap();
}

#[tokio::test]
async fn a_token_that_would_come_out_different_is_never_handed_out() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await;
    rig.refresh(&first.refresh).await.unwrap();
    rig.clock.advance(Duration::from_secs(1));
    rig.disturbed.0.corrupts_replays.store(true, Ordering::SeqCst);
    let error = rig.refresh(&first.refresh).await.unwrap_err();
    assert_eq!(error.code().as_str(), "TOKEN_GENERATION_FAILED");
}
