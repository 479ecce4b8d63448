//! Sessions in one store and users in another: the use cases stay the same, and what was ended stays
//! ended although no transaction covers both.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mintgate_domain::model::{ExternalIdentity, RevokeReason};
use mintgate_domain::ports::{StoreError, UserDirectory as _};
use mintgate_domain::{CodeVerifier, IssuedTokens, LogoutTokenText, SessionProof, SignInRequest};
use mintgate_testkit::{MemoryStore, StoreUnderTest as _};

use crate::rig::{Rig, Setup, presented, request, with_code};

fn rig() -> Rig {
    Rig::set_up(Setup { keeps_users_elsewhere: true, ..Setup::default() })
}

fn identity(subject: &str) -> ExternalIdentity {
    ExternalIdentity { issuer: "https://idp.example.com".to_owned(), subject: subject.to_owned() }
}

/// Lets something happen to the users, after the next write of a session and before its answer.
fn behind_the_next_write<F>(rig: &Rig, happening: impl FnOnce(MemoryStore) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let people = rig.people.clone();
    let happening = Box::new(move || Box::pin(happening(people)) as _);
    *rig.disturbed.0.runs_after_a_write.lock().unwrap() = Some(happening);
}

async fn link_second_identity(rig: &Rig, tokens: &IssuedTokens) {
    let request = SignInRequest {
        code_verifier: Some(CodeVerifier::new("v".repeat(43))),
        ..with_code("second")
    };
    rig.identities.link(&presented(&tokens.access), &request).await.unwrap();
}

#[tokio::test]
async fn a_session_is_opened_refreshed_listed_and_ended() {
    let rig = rig();
    let ada = rig.sign_in("ada").await;
    let next = rig.refresh(&ada.refresh).await.unwrap();
    let again = rig.refresh(&ada.refresh).await.unwrap();
    assert_eq!(next.refresh.expose(), again.refresh.expose());
    let token = presented(&next.access);
    assert_eq!(rig.own.list(&token).await.unwrap().1.len(), 1);
    rig.own.log_out(&SessionProof::Access(token)).await.unwrap();
    let refused = rig.refresh(&next.refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
    assert_eq!(rig.people.dump().await.counts(), [1, 1, 0, 0]);
    assert_eq!(rig.store.dump().await.counts(), [0, 0, 0, 1]);
}

#[tokio::test]
async fn signing_out_everywhere_ends_and_counts_every_session() {
    let rig = rig();
    let (first, second) = (rig.sign_in("ada-1").await, rig.sign_in("ada-2").await);
    let (_, ended) = rig.own.log_out_everywhere(&presented(&first.access)).await.unwrap();
    assert_eq!(ended, 2);
    assert_eq!(rig.revocations(), [("logout", 2)]);
    for session in [first, second] {
        let refused = rig.refresh(&session.refresh).await.unwrap_err();
        assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
    }
    let later = rig.sign_in("ada-3").await;
    rig.refresh(&later.refresh).await.expect("a later sign-in stays");
}

#[tokio::test]
async fn a_raised_epoch_alone_ends_the_sessions_although_their_rows_say_nothing() {
    let rig = rig();
    let key = Some(("a-key", "a-body"));
    let ada = rig.issue.issue(&request("ada", key)).await.unwrap();
    let reason = RevokeReason::Admin;
    rig.people.end_user_sessions(ada.user, reason, rig.now()).await.unwrap();
    assert!(rig.store.sessions()[0].end.is_none());

    let refreshed = rig.refresh(&ada.refresh).await.unwrap_err();
    assert_eq!(refreshed.code().as_str(), "SESSION_REVOKED");
    let caller = rig.own.caller(&presented(&ada.access)).await.unwrap_err();
    assert_eq!(caller.code().as_str(), "SESSION_REVOKED");
    let repeated = rig.issue.issue(&request("ada", key)).await.unwrap_err();
    assert_eq!(repeated.code().as_str(), "SESSION_REVOKED");
    let later = rig.sign_in("ada-2").await;
    let (_, listed) = rig.own.list(&presented(&later.access)).await.unwrap();
    assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [later.session]);
}

#[tokio::test]
async fn a_refresh_under_way_gets_no_tokens_when_everything_is_ended_meanwhile() {
    let rig = rig();
    let ada = rig.sign_in("ada").await;
    let (user, now) = (ada.user, rig.now());
    behind_the_next_write(&rig, move |people| async move {
        people.end_user_sessions(user, RevokeReason::Admin, now).await.unwrap();
    });
    let refused = rig.refresh(&ada.refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
}

#[tokio::test]
async fn case_32_a_refresh_under_way_gets_no_tokens_when_the_user_is_disabled_meanwhile() {
    let rig = rig();
    let ada = rig.sign_in("ada").await;
    let (user, now) = (ada.user, rig.now());
    behind_the_next_write(&rig, move |people| async move { people.disable_user(user, now).await });
    let refused = rig.refresh(&ada.refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "ACCESS_DENIED");
    assert_eq!(rig.revocations(), [("user_disabled", 1)]);
    assert!(rig.store.sessions()[0].end.is_some());
}

#[tokio::test]
async fn a_sign_in_under_way_opens_nothing_when_the_person_changes_meanwhile() {
    let rig = rig();
    let ada = rig.sign_in("ada").await;
    let (user, now) = (ada.user, rig.now());
    behind_the_next_write(&rig, move |people| async move {
        people.end_user_sessions(user, RevokeReason::Admin, now).await.unwrap();
    });
    let refused = rig.issue.issue(&request("ada-2", None)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
    behind_the_next_write(&rig, move |people| async move { people.disable_user(user, now).await });
    let refused = rig.issue.issue(&request("ada-3", None)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "ACCESS_DENIED");
    let live = rig.store.sessions().into_iter().filter(|session| session.end.is_none());
    assert_eq!(live.map(|session| session.id).collect::<Vec<_>>(), [ada.session]);
}

#[tokio::test]
async fn unlinking_ends_the_sessions_of_the_identity_all_but_the_one_that_asks() {
    let rig = rig();
    let ada = rig.sign_in("ada").await;
    link_second_identity(&rig, &ada).await;
    let (kept, other) = (rig.sign_in("second-1").await, rig.sign_in("second-2").await);
    rig.identities.unlink(&presented(&kept.access), identity("second").short_name()).await.unwrap();
    rig.refresh(&kept.refresh).await.expect("the session that asked goes on");
    rig.refresh(&ada.refresh).await.expect("a session of another identity goes on");
    let refused = rig.refresh(&other.refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
    assert_eq!(rig.revocations(), [("logout", 1)]);
}

#[tokio::test]
async fn a_providers_order_about_a_subject_counts_once() {
    let rig = rig();
    let (ada, bob) = (rig.sign_in("ada").await, rig.sign_in("bob").await);
    let order = LogoutTokenText::new("ada");
    let (_, ended) = rig.provider_logout.end_sessions("corp", &order).await.unwrap();
    assert_eq!(ended, 1);
    let refused = rig.refresh(&ada.refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
    rig.refresh(&bob.refresh).await.expect("bob stays");
    let later = rig.sign_in("ada-2").await;
    let repeated = rig.provider_logout.end_sessions("corp", &order).await.unwrap_err();
    assert_eq!(repeated.code().as_str(), "INVALID_LOGOUT_TOKEN");
    rig.refresh(&later.refresh).await.expect("a sign-in after the order stays");
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_refresh_while_the_users_cannot_be_asked_can_be_repeated_when_they_can() {
    let rig = rig();
    let ada = rig.sign_in("ada").await;
    rig.people.set_fault(Some(StoreError::Unavailable("down".into())));
    let refused = rig.refresh(&ada.refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "STORE_UNAVAILABLE");
    rig.clock.advance(Duration::from_mins(2));
    rig.people.set_fault(None);
    rig.refresh(&ada.refresh).await.expect("the token was not exchanged during the outage");
}

#[tokio::test]
async fn signing_out_everywhere_succeeds_where_only_the_rows_could_not_be_ended() {
    let rig = rig();
    let ada = rig.sign_in("ada").await;
    rig.disturbed.0.fails_endings.store(true, Ordering::SeqCst);
    let (_, ended) = rig.own.log_out_everywhere(&presented(&ada.access)).await.unwrap();
    assert_eq!(ended, 0);
    let refused = rig.refresh(&ada.refresh).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
}

#[tokio::test]
async fn an_unlinking_whose_session_could_not_be_kept_is_not_called_done() {
    let rig = rig();
    let ada = rig.sign_in("ada").await;
    link_second_identity(&rig, &ada).await;
    let kept = rig.sign_in("second-1").await;
    rig.disturbed.0.fails_endings.store(true, Ordering::SeqCst);
    let token = presented(&kept.access);
    let unlinked = rig.identities.unlink(&token, identity("second").short_name()).await;
    assert_eq!(unlinked.unwrap_err().code().as_str(), "STORE_UNAVAILABLE");
}
