//! Identities that are linked, and those that must not be.

use std::sync::atomic::Ordering;

use mintgate_domain::model::ExternalIdentity;
use mintgate_domain::{CodeVerifier, Credential, IdTokenText, PresentedToken, SignInRequest};
use mintgate_testkit::StoreUnderTest as _;

use crate::rig::{Rig, presented, with_code};

fn with_verifier(code: &str) -> SignInRequest {
    SignInRequest { code_verifier: Some(CodeVerifier::new("v".repeat(43))), ..with_code(code) }
}

fn name(subject: &str) -> u128 {
    let issuer = "https://idp.example.com".to_owned();
    ExternalIdentity { issuer, subject: subject.to_owned() }.short_name()
}

async fn subjects(rig: &Rig, token: &PresentedToken) -> Vec<String> {
    let (_, identities) = rig.identities.list(token).await.unwrap();
    identities.into_iter().map(|linked| linked.identity.subject).collect()
}

#[tokio::test]
async fn a_linked_identity_signs_in_as_the_same_user() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let token = presented(&ada.access);
    let (_, linked) = rig.identities.link(&token, &with_verifier("ada2")).await.unwrap();
    assert_eq!(linked.identity.subject, "ada2");
    assert_eq!(subjects(&rig, &token).await, ["ada", "ada2"]);
    assert_eq!(rig.sign_in("ada2-again").await.user, ada.user);
    assert_ne!(rig.sign_in("bob").await.user, ada.user);
}

#[tokio::test]
async fn case_30_an_identity_of_another_user_is_not_linked() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let bob = rig.sign_in("bob").await;
    let before = rig.store.dump().await;
    let refusal = rig.identities.link(&presented(&ada.access), &with_verifier("bob-2")).await;
    assert_eq!(refusal.unwrap_err().code().as_str(), "IDENTITY_TAKEN");
    assert_eq!(rig.store.dump().await, before);
    assert_eq!(rig.sign_in("bob-3").await.user, bob.user);
}

#[tokio::test]
async fn linking_needs_a_fresh_code_that_nobody_can_have_slipped_in() {
    let rig = Rig::new();
    let token = presented(&rig.sign_in("ada").await.access);
    let asked = rig.provider.asked.load(Ordering::SeqCst);
    let before = rig.store.dump().await;
    let bare = rig.identities.link(&token, &with_code("eve")).await.unwrap_err();
    assert_eq!(bare.code().as_str(), "INVALID_REQUEST");
    let id_token = SignInRequest {
        credential: Credential::IdToken(IdTokenText::new("t")),
        ..with_verifier("")
    };
    let id_token = rig.identities.link(&token, &id_token).await.unwrap_err();
    assert_eq!(id_token.code().as_str(), "INVALID_REQUEST");
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), asked, "nothing was sent out");
    assert_eq!(rig.store.dump().await, before);

    let login = rig.begin.begin("corp", None, &[]).await.unwrap().transaction;
    let begun_here =
        SignInRequest { state: Some(login.state()), logins: vec![login], ..with_code("ada2") };
    rig.identities.link(&token, &begun_here).await.expect("a login that was begun here");
    let SignInRequest { state, logins, .. } = begun_here;
    let again = SignInRequest { state, logins, ..with_code("ada3") };
    let again = rig.identities.link(&token, &again).await.unwrap_err();
    assert_eq!(again.code().as_str(), "INVALID_STATE", "it is finished");
}

#[tokio::test]
async fn only_signed_in_users_link_and_unlink() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let token = presented(&ada.access);
    rig.own.log_out_everywhere(&token).await.unwrap();
    let refusal = rig.identities.link(&token, &with_verifier("ada2")).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "SESSION_REVOKED");
    let refresh = presented(&ada.refresh);
    let refusal = rig.identities.link(&refresh, &with_verifier("ada2")).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "INVALID_ACCESS_TOKEN");
    assert_eq!(
        rig.identities.unlink(&token, 7).await.unwrap_err().code().as_str(),
        "SESSION_REVOKED"
    );
}

#[tokio::test]
async fn a_disabled_user_links_nothing() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    rig.store.disable_user(ada.user, rig.now()).await;
    let refusal = rig.identities.link(&presented(&ada.access), &with_verifier("ada2")).await;
    assert_eq!(refusal.unwrap_err().code().as_str(), "ACCESS_DENIED");
}

#[tokio::test]
async fn an_unlinked_identity_is_nobodys_and_its_sessions_end_but_the_one_that_asks() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let token = presented(&ada.access);
    rig.identities.link(&token, &with_verifier("ada2")).await.unwrap();
    let second = rig.sign_in("ada2-2").await;
    let mine = rig.sign_in("ada2-3").await;

    rig.identities.unlink(&presented(&mine.access), name("ada2")).await.unwrap();
    assert_eq!(subjects(&rig, &token).await, ["ada"]);
    assert_eq!(rig.refresh(&second.refresh).await.unwrap_err().code().as_str(), "SESSION_REVOKED");
    rig.refresh(&mine.refresh).await.expect("the session that asked lives");
    rig.refresh(&ada.refresh).await.expect("a session of the other identity lives");
    assert_eq!(rig.revocations(), [("logout", 1)]);
    assert_ne!(rig.sign_in("ada2-4").await.user, ada.user, "somebody new");
}

#[tokio::test]
async fn the_last_identity_is_never_taken_away_nor_anybody_elses() {
    let rig = Rig::new();
    let token = presented(&rig.sign_in("ada").await.access);
    rig.sign_in("bob").await;
    let before = rig.store.dump().await;
    let last = rig.identities.unlink(&token, name("ada")).await.unwrap_err();
    assert_eq!(last.code().as_str(), "LAST_IDENTITY");
    let bobs = rig.identities.unlink(&token, name("bob")).await.unwrap_err();
    assert_eq!(bobs.code().as_str(), "NOT_FOUND");
    assert_eq!(rig.store.dump().await, before);
}

#[tokio::test]
async fn linking_does_not_hand_out_tokens() {
    let rig = Rig::new();
    let token = presented(&rig.sign_in("ada").await.access);
    let sessions = rig.store.sessions().len();
    rig.identities.link(&token, &with_verifier("ada2")).await.unwrap();
    assert_eq!(rig.store.sessions().len(), sessions);
}
