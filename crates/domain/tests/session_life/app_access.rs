//! The provider's own access token of a session, for the back end of an app.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use mintgate_domain::model::{ProviderId, RevokeReason, SessionId, UpstreamTokens};
use mintgate_domain::ports::{
    Misbehaviour, ProviderError, ProviderTokenResult, RefreshTokenRepo as _, StoreError,
    UpstreamDue, UpstreamRenewal, UpstreamTokenRepo as _,
};
use mintgate_domain::{AppToken, AuthError, Client, TokenHash};
use mintgate_testkit::{MetricEvent, StoreUnderTest as _};
use uuid::Uuid;

use crate::rig::{ACCESS_LIFE, LEASE, Rig, Setup};

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);
/// From when on a token of the provider is renewed.
const DUE: Duration = ACCESS_LIFE.saturating_sub(Duration::from_mins(1));

fn keeping() -> Rig {
    Rig::set_up(Setup { keeps_access_tokens: true, ..Setup::default() })
}

fn rechecking() -> Rig {
    Rig::set_up(Setup { keeps_access_tokens: true, recheck: Some(HOUR), ..Setup::default() })
}

fn client(providers: &[&str]) -> Client {
    let provider_tokens = providers.iter().map(|id| ProviderId::new(*id)).collect();
    Client {
        id: "app".to_owned(),
        secret_hash: TokenHash::of("secret"),
        provider_tokens,
        audience: None,
        refresh_tokens: false,
        address_key: None,
    }
}

impl Rig {
    fn session(&self) -> SessionId {
        self.store.sessions()[0].id
    }

    async fn ask(&self) -> Result<AppToken, AuthError> {
        self.app_access.access_token(&client(&["corp"]), self.session()).await
    }

    async fn token(&self) -> String {
        self.ask().await.expect("a token").token.expose().to_owned()
    }

    async fn refusal(&self) -> &'static str {
        self.ask().await.unwrap_err().code().as_str()
    }

    fn renewed_with(&self) -> Vec<String> {
        self.provider.renewed_with.lock().unwrap().clone()
    }

    fn results(&self) -> Vec<&'static str> {
        let events = self.metrics.events();
        let results = events.iter().filter_map(|event| match event {
            MetricEvent::ProviderToken { result, .. } => Some(result.name()),
            _ => None,
        });
        results.collect()
    }
}

#[tokio::test]
async fn the_token_of_the_sign_in_is_given_out_until_it_is_about_to_expire() {
    let rig = keeping();
    rig.sign_in("ada").await;
    let answer = rig.ask().await.unwrap();
    assert_eq!(answer.token.expose(), "ada's access-0");
    assert_eq!(answer.scope.as_deref(), Some("openid calendar"));
    assert_eq!(answer.expires_in, Some(ACCESS_LIFE));
    assert_eq!(answer.expires_at, Some(rig.now() + ACCESS_LIFE));
    rig.clock.advance(DUE.saturating_sub(SECOND));
    let answer = rig.ask().await.unwrap();
    assert_eq!(answer.token.expose(), "ada's access-0");
    assert_eq!(answer.expires_in, Some(Duration::from_secs(61)));
    assert_eq!(rig.renewed_with(), [""; 0]);
    rig.clock.advance(SECOND);
    let answer = rig.ask().await.unwrap();
    assert_eq!(answer.token.expose(), "ada's access-1");
    assert_eq!((answer.expires_in, answer.scope), (Some(ACCESS_LIFE), None));
    assert_eq!(rig.token().await, "ada's access-1", "which is kept");
    // The provider's refresh token was rotated, and the next renewal shows the new one.
    rig.clock.advance(DUE);
    assert_eq!(rig.token().await, "ada's access-2");
    assert_eq!(rig.renewed_with(), ["ada-0", "ada-1"]);
    assert_eq!(rig.results(), ["kept", "kept", "renewed", "kept", "renewed"]);
}

#[tokio::test]
async fn many_who_ask_at_once_cause_one_renewal_and_get_its_token() {
    let rig = keeping();
    rig.sign_in("ada").await;
    rig.clock.advance(ACCESS_LIFE);
    let tokens = join_all((0..20).map(|_| rig.token())).await;
    assert_eq!(tokens, ["ada's access-1"; 20]);
    assert_eq!(rig.renewed_with(), ["ada-0"]);
}

#[tokio::test]
async fn a_refresh_that_rechecks_meanwhile_shows_no_refresh_token_twice() {
    let rig = rechecking();
    let ada = rig.sign_in("ada").await;
    rig.clock.advance(HOUR);
    let (refreshed, tokens) = futures_util::future::join(
        rig.refresh(&ada.refresh),
        join_all((0..5).map(|_| rig.token())),
    )
    .await;
    refreshed.expect("a refresh");
    assert_eq!(tokens, ["ada's access-1"; 5]);
    assert_eq!(rig.renewed_with(), ["ada-0"]);
    assert_eq!(rig.rechecks(), ["confirmed"]);
    // Both go on with what the one question has brought.
    rig.clock.advance(DUE);
    assert_eq!(rig.token().await, "ada's access-2");
    assert_eq!(rig.renewed_with(), ["ada-0", "ada-1"]);
}

#[tokio::test]
async fn another_replica_that_asks_is_waited_for() {
    let rig = keeping();
    rig.sign_in("ada").await;
    rig.clock.advance(ACCESS_LIFE);
    let (due, now) = (UpstreamDue::Access(rig.now()), rig.now());
    let claimed = rig.store.claim_upstream(rig.session(), due, now, now + LEASE).await;
    assert!(claimed.unwrap().is_some());
    // That one never answers: nobody waits for long, and after the lease another may ask.
    assert_eq!(rig.refusal().await, "PROVIDER_UNAVAILABLE");
    assert_eq!(rig.renewed_with(), [""; 0]);
    rig.clock.advance(LEASE);
    assert_eq!(rig.token().await, "ada's access-1");
}

#[tokio::test]
async fn a_token_that_is_still_good_is_given_out_while_nobody_can_renew_it() {
    let rig = keeping();
    rig.sign_in("ada").await;
    rig.clock.advance(DUE);
    let down = ProviderError::Unreachable("down".into());
    *rig.provider.renewal_fails.lock().unwrap() = Some(down);
    for _ in 0..2 {
        assert_eq!(rig.token().await, "ada's access-0");
    }
    assert_eq!(rig.renewed_with(), ["ada-0"; 2], "one that was not shown may be shown at once");
    *rig.provider.renewal_fails.lock().unwrap() = None;
    assert_eq!(rig.token().await, "ada's access-1");
}

#[tokio::test]
async fn a_provider_in_trouble_is_told_apart_and_costs_no_refresh_token() {
    let bad = ProviderError::Misbehaved(Misbehaviour::BadAnswer, "odd".into());
    for (failure, code) in [
        (ProviderError::Unreachable("down".into()), "PROVIDER_UNAVAILABLE"),
        (ProviderError::TimedOut("slow".into()), "PROVIDER_TIMEOUT"),
        (bad, "PROVIDER_ERROR"),
    ] {
        let rig = keeping();
        rig.sign_in("ada").await;
        rig.clock.advance(ACCESS_LIFE);
        *rig.provider.renewal_fails.lock().unwrap() = Some(failure);
        assert_eq!(rig.refusal().await, code);
        *rig.provider.renewal_fails.lock().unwrap() = None;
        rig.clock.advance(LEASE);
        assert_eq!(rig.token().await, "ada's access-1");
    }
}

#[tokio::test]
async fn a_refresh_token_that_may_have_been_shown_is_not_shown_again_at_once() {
    let rig = keeping();
    rig.sign_in("ada").await;
    rig.clock.advance(ACCESS_LIFE);
    *rig.provider.renewal_fails.lock().unwrap() = Some(ProviderError::TimedOut("slow".into()));
    assert_eq!(rig.refusal().await, "PROVIDER_TIMEOUT");
    assert_eq!(rig.refusal().await, "PROVIDER_UNAVAILABLE");
    assert_eq!(rig.renewed_with(), ["ada-0"]);
}

#[tokio::test]
async fn a_provider_that_refuses_leaves_a_session_without_tokens() {
    for refusal in [
        ProviderError::RefreshRefused("revoked".into()),
        ProviderError::IdTokenRefused("another person".into()),
    ] {
        let rig = keeping();
        let ada = rig.sign_in("ada").await;
        rig.clock.advance(DUE);
        *rig.provider.renewal_fails.lock().unwrap() = Some(refusal);
        for _ in 0..2 {
            assert_eq!(rig.refusal().await, "NO_PROVIDER_TOKEN");
        }
        assert_eq!(rig.renewed_with(), ["ada-0"], "it is not asked again");
        let tokens = rig.store.load_upstream(rig.session()).await.unwrap();
        assert!(tokens.is_empty());
        rig.refresh(&ada.refresh).await.expect("the session goes on");
        assert_eq!(rig.results(), ["unusable", "unusable"]);
    }
}

#[tokio::test]
async fn where_the_provider_is_asked_again_its_refusal_ends_the_session() {
    let rig = rechecking();
    rig.sign_in("ada").await;
    rig.clock.advance(DUE);
    let refusal = ProviderError::RefreshRefused("disabled".into());
    *rig.provider.renewal_fails.lock().unwrap() = Some(refusal);
    assert_eq!(rig.refusal().await, "NO_PROVIDER_TOKEN");
    assert_eq!(rig.refusal().await, "NOT_FOUND");
    assert_eq!(rig.revocations(), [("provider_refused", 1)]);
}

/// Another replica, whose clock is ahead, has asked before.
#[tokio::test]
async fn what_a_provider_answers_is_kept_although_it_was_asked_in_the_future() {
    let rig = keeping();
    rig.sign_in("ada").await;
    let at = rig.now() + DUE + SECOND * 90;
    let nothing = UpstreamRenewal { tokens: UpstreamTokens::default(), claimed_roles: None, at };
    rig.store.keep_upstream(rig.session(), &nothing).await.unwrap();
    rig.clock.advance(DUE);
    let first = rig.token().await;
    assert_eq!(rig.token().await, first);
    rig.clock.advance(ACCESS_LIFE);
    assert_ne!(rig.token().await, first);
    let shown = rig.renewed_with();
    assert!(shown.len() == 2 && shown[0] != shown[1], "a refresh token was lost: {shown:?}");
}

#[tokio::test]
async fn what_a_client_may_not_see_looks_like_what_is_not_there() {
    let rig = keeping();
    rig.sign_in("ada").await;
    let session = rig.session();
    let code = async |client: &Client, session: SessionId| {
        rig.app_access.access_token(client, session).await.unwrap_err().code().as_str()
    };
    let nothing = SessionId::from_uuid(Uuid::from_u128(0xdead));
    assert_eq!(code(&client(&["corp"]), nothing).await, "NOT_FOUND");
    for other in [&["other"][..], &[], &["hub", "CORP"]] {
        assert_eq!(code(&client(other), session).await, "NOT_FOUND");
    }
    let user = rig.store.sessions()[0].user;
    rig.store.end_session(session, user, RevokeReason::Logout, rig.now()).await.unwrap();
    assert_eq!(code(&client(&["corp"]), session).await, "NOT_FOUND");
    assert_eq!(rig.results(), ["unknown"; 5]);
    let last = rig.metrics.events().pop();
    let result = ProviderTokenResult::Unknown;
    assert_eq!(last, Some(MetricEvent::ProviderToken { provider: None, result }));
}

#[tokio::test]
async fn a_session_that_has_run_out_or_whose_person_is_gone_has_no_token() {
    let rig = keeping();
    rig.sign_in("ada").await;
    rig.clock.advance(Duration::from_hours(24) * 31);
    assert_eq!(rig.refusal().await, "NOT_FOUND");
    let rig = keeping();
    let ada = rig.sign_in("ada").await;
    rig.store.disable_user(ada.user, rig.now()).await;
    assert_eq!(rig.refusal().await, "NOT_FOUND");
}

#[tokio::test]
async fn a_provider_that_keeps_no_access_tokens_gives_none() {
    let rig = Rig::set_up(Setup { recheck: Some(HOUR), ..Setup::default() });
    rig.sign_in("ada").await;
    assert_eq!(rig.refusal().await, "NOT_FOUND");
    assert_eq!(rig.store.load_upstream(rig.session()).await.unwrap().access, None);
}

#[tokio::test]
async fn an_answer_in_doubt_gives_no_token_and_loses_no_refresh_token() {
    let rig = keeping();
    rig.sign_in("ada").await;
    rig.clock.advance(ACCESS_LIFE);
    let doubt = ProviderError::Misbehaved(Misbehaviour::BadAnswer, "a broken ID token".into());
    *rig.provider.renewal_doubt.lock().unwrap() = Some(doubt);
    assert_eq!(rig.refusal().await, "PROVIDER_ERROR");
    *rig.provider.renewal_doubt.lock().unwrap() = None;
    assert_eq!(rig.token().await, "ada's access-2");
    assert_eq!(rig.renewed_with(), ["ada-0", "ada-1"]);
}

#[tokio::test]
async fn an_answer_without_an_access_token_is_the_providers_mistake() {
    let rig = keeping();
    rig.sign_in("ada").await;
    rig.provider.gives_no_access.store(true, Ordering::SeqCst);
    rig.clock.advance(DUE);
    assert_eq!(rig.token().await, "ada's access-0", "still good");
    rig.clock.advance(ACCESS_LIFE);
    assert_eq!(rig.refusal().await, "PROVIDER_ERROR");
}

#[tokio::test]
async fn a_new_refresh_token_survives_a_store_that_is_down_and_a_caller_who_goes_away() {
    let rig = keeping();
    rig.sign_in("ada").await;
    rig.clock.advance(ACCESS_LIFE);
    rig.keeps_nothing.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(rig.refusal().await, "STORE_UNAVAILABLE");
    }
    rig.keeps_nothing.store(false, Ordering::SeqCst);
    assert_eq!(rig.token().await, "ada's access-1");
    assert_eq!(rig.renewed_with(), ["ada-0"]);

    let rig = Arc::new(keeping());
    rig.sign_in("ada").await;
    rig.clock.advance(ACCESS_LIFE);
    rig.provider.renewal_hangs.store(true, Ordering::SeqCst);
    let asking = tokio::spawn({
        let rig = Arc::clone(&rig);
        async move { rig.ask().await }
    });
    while rig.renewed_with().is_empty() {
        tokio::task::yield_now().await;
    }
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    rig.provider.go_on.notify_waiters();
    rig.provider.renewal_hangs.store(false, Ordering::SeqCst);
    assert_eq!(rig.token().await, "ada's access-1");
    assert_eq!(rig.renewed_with(), ["ada-0"]);
}

#[tokio::test]
async fn a_store_that_is_down_is_no_refusal() {
    let rig = keeping();
    rig.sign_in("ada").await;
    let session = rig.session();
    rig.store.set_fault(Some(StoreError::Unavailable("down".into())));
    let refusal = rig.app_access.access_token(&client(&["corp"]), session).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "STORE_UNAVAILABLE");
    rig.store.set_fault(None);
    assert_eq!(rig.token().await, "ada's access-0");
}
