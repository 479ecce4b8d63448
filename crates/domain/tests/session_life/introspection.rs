//! What back ends are told about tokens, and which sessions they end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mintgate_domain::model::{LostAnswer, RevokeReason};
use mintgate_domain::ports::StoreError;
use mintgate_domain::{ActiveToken, AuthError, Client, PresentedToken, SignedToken, TokenHash};
use mintgate_testkit::{MetricEvent, StoreUnderTest as _};

use crate::rig::{AUDIENCE, DAY, GRACE, Rig, Setup, presented, refresh_config};

pub(crate) fn client(audience: &str, refresh_tokens: bool) -> Client {
    Client {
        id: "api".to_owned(),
        secret_hash: TokenHash::of("secret"),
        provider_tokens: vec![],
        audience: Some(audience.to_owned()),
        refresh_tokens,
        address_key: None,
    }
}

impl Rig {
    async fn told(&self, client: &Client, token: &PresentedToken) -> Option<ActiveToken> {
        let before = self.store.dump().await;
        let told = self.introspection.introspect(client, token).await.expect("an answer");
        assert_eq!(self.store.dump().await, before, "a question changes nothing");
        told
    }

    async fn is_active(&self, token: &SignedToken) -> bool {
        self.told(&client(AUDIENCE, true), &presented(token)).await.is_some()
    }

    fn outcomes(&self) -> Vec<&'static str> {
        let events = self.metrics.events();
        let results = events.iter().filter_map(|event| match event {
            MetricEvent::Introspection { result } => Some(result.name()),
            MetricEvent::TokenRevocation { result } => Some(result.name()),
            _ => None,
        });
        results.collect()
    }
}

#[tokio::test]
async fn a_client_sees_access_tokens_for_its_audience_and_refresh_tokens_if_it_may() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let (access, refresh) = (presented(&ada.access), presented(&ada.refresh));
    let told = rig.told(&client(AUDIENCE, false), &access).await;
    let Some(ActiveToken::Access(claims, session)) = told else { panic!("an access token") };
    assert_eq!((claims.subject, session.id), (ada.user, ada.session));
    assert!(rig.told(&client(AUDIENCE, false), &refresh).await.is_none());
    assert!(rig.told(&client("https://other.example", true), &access).await.is_none());
    let told = rig.told(&client("https://other.example", true), &refresh).await;
    let Some(ActiveToken::Refresh(claims, session)) = told else { panic!("a refresh token") };
    assert_eq!((claims.subject, session.id), (ada.user, ada.session));
    let blind = Client { audience: None, ..client("", false) };
    assert!(rig.told(&blind, &access).await.is_none());
    let garbage = PresentedToken::new("garbage");
    assert!(rig.told(&client(AUDIENCE, true), &garbage).await.is_none());
    let expected = ["active", "inactive", "inactive", "active", "inactive", "inactive"];
    assert_eq!(rig.outcomes(), expected);
}

#[tokio::test]
async fn a_refresh_token_is_active_exactly_while_a_refresh_would_accept_it() {
    for (lost_answer, late) in [(LostAnswer::Grace, false), (LostAnswer::UntilUsed, true)] {
        let rig = Rig::with(mintgate_domain::RefreshConfig { lost_answer, ..refresh_config() });
        let ada = rig.sign_in("ada").await;
        let first = ada.refresh;
        let second = rig.refresh(&first).await.unwrap().refresh;
        assert!(rig.is_active(&first).await && rig.is_active(&second).await);
        rig.store.age_rotation(ada.session, GRACE).await;
        assert_eq!(rig.is_active(&first).await, late);
        let third = rig.refresh(&second).await.unwrap().refresh;
        assert!(!rig.is_active(&first).await, "older than the one before");
        assert!(rig.is_active(&second).await && rig.is_active(&third).await);
        rig.clock.advance(DAY * 30);
        assert!(!rig.is_active(&third).await, "the idle limit");
    }
}

/// Its successor has been used for long, so that the session goes on.
#[tokio::test]
async fn a_refresh_token_that_has_expired_is_inactive_although_it_is_the_one_before() {
    let rig = Rig::new();
    let first = rig.sign_in("ada").await.refresh;
    rig.clock.advance(DAY * 29);
    let second = rig.refresh(&first).await.unwrap().refresh;
    assert!(rig.is_active(&first).await);
    rig.clock.advance(DAY);
    assert!(!rig.is_active(&first).await);
    assert_eq!(rig.refresh(&first).await.unwrap_err(), AuthError::RefreshTokenExpired);
    assert!(rig.is_active(&second).await);
}

#[tokio::test]
async fn an_access_token_is_active_until_it_expires_or_its_session_ends() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    rig.clock.advance(Duration::from_mins(59));
    assert!(rig.is_active(&ada.access).await);
    rig.clock.advance(Duration::from_mins(1));
    assert!(!rig.is_active(&ada.access).await);

    let ada = rig.sign_in("ada-2").await;
    rig.store.disable_user(ada.user, rig.now()).await;
    assert!(!rig.is_active(&ada.access).await && !rig.is_active(&ada.refresh).await);
}

#[tokio::test]
async fn a_token_does_not_outlive_the_limit_of_its_session() {
    let refresh_ttl = Duration::from_mins(10);
    let rig = Rig::with(mintgate_domain::RefreshConfig { refresh_ttl, ..refresh_config() });
    let ada = rig.sign_in("ada").await;
    let ada = rig.refresh(&ada.refresh).await.unwrap();
    rig.clock.advance(refresh_ttl);
    assert!(!rig.is_active(&ada.access).await);
}

#[tokio::test]
async fn with_people_elsewhere_a_disabled_user_has_no_active_token() {
    let rig = Rig::set_up(Setup { keeps_users_elsewhere: true, ..Setup::default() });
    let ada = rig.sign_in("ada").await;
    assert!(rig.is_active(&ada.access).await && rig.is_active(&ada.refresh).await);
    rig.people.disable_user(ada.user, rig.now()).await;
    assert!(!rig.is_active(&ada.access).await && !rig.is_active(&ada.refresh).await);
}

#[tokio::test]
async fn a_client_ends_the_session_of_a_token_it_sees_and_no_other() {
    let rig = Rig::new();
    let (ada, eve) = (rig.sign_in("ada").await, rig.sign_in("eve").await);
    let revoke = async |client: Client, token: &SignedToken| {
        rig.introspection.revoke(&client, &presented(token)).await.expect("an answer")
    };
    assert_eq!(revoke(client("https://other.example", false), &ada.access).await, None);
    assert_eq!(revoke(client(AUDIENCE, false), &ada.refresh).await, None);
    assert!(rig.is_active(&ada.access).await);

    // Also with a token that has expired or was superseded.
    rig.refresh(&eve.refresh).await.unwrap();
    rig.clock.advance(DAY);
    let ended = revoke(client(AUDIENCE, false), &ada.access).await;
    assert_eq!(ended, Some((ada.user, ada.session)));
    assert_eq!(revoke(client(AUDIENCE, true), &ada.refresh).await, None, "it has ended");
    let ended = revoke(client(AUDIENCE, true), &eve.refresh).await;
    assert_eq!(ended, Some((eve.user, eve.session)));
    assert_eq!(rig.revocations(), [("revoked_by_client", 1), ("revoked_by_client", 1)]);
    let refused = rig.refresh(&ada.refresh).await.unwrap_err();
    assert_eq!(refused, AuthError::SessionRevoked(RevokeReason::RevokedByClient));
    assert_eq!(rig.outcomes(), ["nothing", "nothing", "active", "ended", "nothing", "ended"]);
}

#[tokio::test]
async fn in_doubt_no_token_is_inactive_and_none_is_revoked() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let all = client(AUDIENCE, true);
    let fault = StoreError::Unavailable("down".into());
    rig.store.set_fault(Some(fault.clone()));
    for token in [&ada.access, &ada.refresh] {
        let token = presented(token);
        let asked = rig.introspection.introspect(&all, &token).await;
        assert_eq!(asked.unwrap_err(), AuthError::Store(fault.clone()));
        let revoked = rig.introspection.revoke(&all, &token).await;
        assert_eq!(revoked.unwrap_err(), AuthError::Store(fault.clone()));
    }
    rig.store.set_fault(None);
    rig.tokens.unavailable.store(true, Ordering::SeqCst);
    let asked = rig.introspection.introspect(&all, &PresentedToken::new("garbage")).await;
    assert_eq!(asked.unwrap_err().code().as_str(), "STORE_UNAVAILABLE");
    rig.tokens.unavailable.store(false, Ordering::SeqCst);
    assert!(rig.is_active(&ada.access).await);
    assert_eq!(rig.outcomes(), ["failed", "failed", "failed", "failed", "failed", "active"]);
}
