//! Signing out at the provider too, with the ID token that was kept as a hint.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mintgate_domain::model::{SealedToken, UpstreamTokens};
use mintgate_domain::ports::{
    OnceMarks as _, ProviderError, StoreError, UpstreamRenewal, UpstreamTokenRepo as _,
};
use mintgate_domain::{IdTokenText, IssuedTokens, PresentedToken, SessionProof, SignOutRequest};
use mintgate_testkit::StoreUnderTest as _;

use crate::rig::{Rig, Setup};

const HOUR: Duration = Duration::from_hours(1);

fn keeping() -> Rig {
    let rig = Rig::set_up(Setup { keeps_id_tokens: true, recheck: Some(HOUR), ..Setup::default() });
    rig.provider.has_id_tokens.store(true, Ordering::SeqCst);
    rig
}

fn proof(tokens: &IssuedTokens) -> SessionProof {
    SessionProof::Access(PresentedToken::new(tokens.access.expose()))
}

impl Rig {
    /// The address that a sign-out gives.
    async fn logout_url(&self, tokens: &IssuedTokens) -> String {
        let request = SignOutRequest::default();
        let signed_out = self.sign_out.end(&proof(tokens), &request).await.expect("an end");
        let url = self.sign_out.logout_url(&signed_out, &request).await;
        url.expect("an answer").expect("an address")
    }
}

const PLAIN: &str = "https://idp.example.com/bye?tenant=1&client_id=mintgate";

#[tokio::test]
async fn the_provider_is_shown_the_id_token_of_the_sign_in_once() {
    let rig = keeping();
    let ada = rig.sign_in("ada").await;
    let hint =
        "https://idp.example.com/bye?tenant=1&client_id=mintgate&id_token_hint=ada.signature";
    assert_eq!(rig.logout_url(&ada).await, hint);
    assert_eq!(rig.logout_url(&ada).await, PLAIN, "the session has ended before");
}

#[tokio::test]
async fn the_provider_is_shown_the_newest_id_token_of_a_renewal() {
    let rig = keeping();
    let ada = rig.sign_in("ada").await;
    rig.clock.advance(HOUR);
    let ada = rig.refresh(&ada.refresh).await.expect("a refresh");
    let url = rig.logout_url(&ada).await;
    assert_eq!(url, format!("{PLAIN}&id_token_hint=ada.renewed-1.signature"));
}

#[tokio::test]
async fn an_id_token_that_was_a_hint_signs_nobody_in() {
    let rig = keeping();
    let ada = rig.sign_in("ada").await;
    let hash = IdTokenText::new("ada.signature").hash();
    assert_eq!(rig.store.is_claimed(hash).await, Ok(false));
    rig.logout_url(&ada).await;
    assert_eq!(rig.store.is_claimed(hash).await, Ok(true));
    let dump = rig.store.dump().await;
    let [mark] = dump.rows("single_use_marks") else { panic!("one mark") };
    let last = rig.now() + HOUR * 24;
    let marked_until = mark.split_once(' ').unwrap().1;
    assert!(*marked_until > *format!("{last:?}"), "{mark}");
}

#[tokio::test]
async fn a_provider_whose_id_tokens_are_not_kept_is_shown_none() {
    let rig = Rig::set_up(Setup { recheck: Some(HOUR), ..Setup::default() });
    rig.provider.has_id_tokens.store(true, Ordering::SeqCst);
    let ada = rig.sign_in("ada").await;
    rig.clock.advance(HOUR);
    let ada = rig.refresh(&ada.refresh).await.expect("a refresh");
    assert!(!rig.store.dump().await.rows("upstream_tokens")[0].contains("signature"));
    assert_eq!(rig.logout_url(&ada).await, PLAIN);
    let dump = rig.store.dump().await;
    assert_eq!(dump.rows("single_use_marks"), [""; 0]);
}

#[tokio::test]
async fn an_id_token_that_cannot_be_decrypted_prevents_no_sign_out() {
    let rig = keeping();
    let ada = rig.sign_in("ada").await;
    let id = Some(SealedToken("under another key".to_owned()));
    let tokens = UpstreamTokens { id, ..UpstreamTokens::default() };
    let renewal = UpstreamRenewal { tokens, claimed_roles: None, at: rig.now() };
    rig.store.keep_upstream(rig.store.sessions()[0].id, &renewal).await.unwrap();
    let request = SignOutRequest::default();
    let signed_out = rig.sign_out.end(&proof(&ada), &request).await.expect("an end");
    assert!(signed_out.id_token.is_err());
    let url = rig.sign_out.logout_url(&signed_out, &request).await;
    assert_eq!(url.unwrap().as_deref(), Some(PLAIN));
    assert_eq!(rig.revocations(), [("logout", 1)]);
}

#[tokio::test]
async fn a_doubtful_answer_replaces_no_id_token() {
    let rig = keeping();
    let ada = rig.sign_in("ada").await;
    rig.clock.advance(HOUR);
    *rig.provider.renewal_doubt.lock().unwrap() = Some(ProviderError::TimedOut("slow".into()));
    let ada = rig.refresh(&ada.refresh).await.expect("a refresh");
    assert_eq!(rig.logout_url(&ada).await, format!("{PLAIN}&id_token_hint=ada.signature"));
}

#[tokio::test]
async fn a_store_that_is_down_ends_nothing_and_shows_no_id_token() {
    let rig = keeping();
    let ada = rig.sign_in("ada").await;
    rig.store.set_fault(Some(StoreError::Unavailable("down".into())));
    let request = SignOutRequest::default();
    let refusal = rig.sign_out.end(&proof(&ada), &request).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "STORE_UNAVAILABLE");
    rig.store.set_fault(None);
    assert!(rig.logout_url(&ada).await.ends_with("id_token_hint=ada.signature"));
}
