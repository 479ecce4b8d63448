//! What callers see and end.

use std::time::Duration;

use mintgate_domain::model::{RevokeReason, SessionId};
use mintgate_domain::ports::{RefreshTokenRepo as _, StoreError};
use mintgate_domain::{AuthError, PresentedToken, SessionProof};
use mintgate_testkit::StoreUnderTest as _;

use super::rig::{DAY, Rig, presented};

#[tokio::test]
async fn the_caller_is_who_the_token_says_while_its_session_lives() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let token = presented(&ada.access);
    let caller = rig.own.caller(&token).await.unwrap();
    assert_eq!((caller.subject, caller.session), (ada.user, ada.session));
    rig.clock.advance(Duration::from_mins(59));
    rig.own.caller(&token).await.unwrap();
    rig.clock.advance(Duration::from_mins(1));
    let refused = rig.own.caller(&token).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_ACCESS_TOKEN");
}

#[tokio::test]
async fn case_46_logging_out_ends_the_session_once_and_answers_the_same_again() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let proof = SessionProof::Access(presented(&ada.access));
    // Also hours after the access token has expired.
    rig.clock.advance(DAY);
    assert_eq!(rig.own.log_out(&proof).await.unwrap(), (ada.user, ada.session));
    let after_one = rig.store.dump().await;
    rig.clock.advance(DAY);
    assert_eq!(rig.own.log_out(&proof).await.unwrap(), (ada.user, ada.session));
    assert_eq!(rig.store.dump().await, after_one);
    assert_eq!(rig.revocations(), [("logout", 1)]);
    let refused = rig.refresh(&ada.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::SessionRevoked(RevokeReason::Logout));
}

#[tokio::test]
async fn a_refresh_token_logs_out_too_even_a_superseded_one() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let next = rig.refresh(&ada.refresh).await.unwrap();
    rig.own.log_out(&SessionProof::Refresh(presented(&ada.refresh))).await.unwrap();
    let refused = rig.refresh(&next.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::SessionRevoked(RevokeReason::Logout));
}

#[tokio::test]
async fn case_40_neither_kind_of_token_passes_for_the_other() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let (access, refresh) = (presented(&ada.access), presented(&ada.refresh));
    let refused = rig.own.caller(&refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_ACCESS_TOKEN");
    let refused = rig.own.log_out(&SessionProof::Access(refresh)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_ACCESS_TOKEN");
    let refused = rig.own.log_out(&SessionProof::Refresh(access)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_REFRESH_TOKEN");
    rig.refresh(&ada.refresh).await.unwrap();
}

#[tokio::test]
async fn after_the_end_of_a_session_its_access_token_does_nothing_here() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let token = presented(&ada.access);
    rig.own.log_out(&SessionProof::Access(token.clone())).await.unwrap();
    let revoked = AuthError::SessionRevoked(RevokeReason::Logout);
    assert_eq!(rig.own.caller(&token).await.unwrap_err(), revoked);
    assert_eq!(rig.own.list(&token).await.unwrap_err(), revoked);
    assert_eq!(rig.own.end(&token, ada.session).await.unwrap_err(), revoked);
    assert_eq!(rig.own.log_out_everywhere(&token).await.unwrap_err(), revoked);
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_sessions_of_this_user_alone() {
    let rig = Rig::new();
    let here = rig.sign_in("ada-1").await;
    let there = rig.sign_in("ada-2").await;
    let bob = rig.sign_in("bob").await;
    let (caller, ended) = rig.own.log_out_everywhere(&presented(&here.access)).await.unwrap();
    assert_eq!((caller.subject, ended), (here.user, 2));
    assert_eq!(rig.revocations(), [("logout", 2)]);
    assert!(rig.refresh(&there.refresh).await.is_err());
    rig.refresh(&bob.refresh).await.unwrap();
}

#[tokio::test]
async fn the_list_is_of_live_sessions_the_last_used_first() {
    let rig = Rig::new();
    let one = rig.sign_in("ada-1").await;
    rig.clock.advance(Duration::from_mins(1));
    let two = rig.sign_in("ada-2").await;
    rig.clock.advance(Duration::from_mins(1));
    let three = rig.sign_in("ada-3").await;
    rig.sign_in("bob").await;
    rig.clock.advance(Duration::from_mins(1));
    rig.refresh(&one.refresh).await.unwrap();
    rig.own.log_out(&SessionProof::Access(presented(&three.access))).await.unwrap();
    let (_, sessions) = rig.own.list(&presented(&two.access)).await.unwrap();
    let ids: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    assert_eq!(ids, [one.session, two.session]);
}

#[tokio::test]
async fn case_46_another_users_session_is_not_there_and_goes_on() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let bob = rig.sign_in("bob").await;
    let before = rig.store.dump().await;
    let refused = rig.own.end(&presented(&ada.access), bob.session).await.unwrap_err();
    assert_eq!(refused, AuthError::NoSuchSession);
    assert_eq!(rig.store.dump().await, before);
    rig.own.end(&presented(&bob.access), bob.session).await.unwrap();
    assert!(rig.refresh(&bob.refresh).await.is_err());
}

#[tokio::test]
async fn a_store_in_doubt_ends_nothing_and_says_so() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let fault = StoreError::Unavailable("down".into());
    rig.store.set_fault(Some(fault.clone()));
    let proof = SessionProof::Access(presented(&ada.access));
    assert_eq!(rig.own.log_out(&proof).await.unwrap_err(), AuthError::Store(fault.clone()));
    assert_eq!(
        rig.own.caller(&PresentedToken::new(ada.access.expose())).await.unwrap_err(),
        AuthError::Store(fault)
    );
    rig.store.set_fault(None);
    assert!(rig.store.load(ada.session).await.unwrap().unwrap().session.end.is_none());
}
