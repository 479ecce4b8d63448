//! Providers that are asked again at a refresh, over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Options, Store, TestService, Tokens, assert_error, sign_in};
use crate::on_both_stores;
use mintgate::system::SystemClock;
use mintgate_domain::ports::Clock as _;
use mintgate_mock_idp::{FaultKind, Faults, SignIn};
use mintgate_testkit::ManualClock;
use reqwest::StatusCode;

/// A service that asks its provider again once a minute, and the clock it goes by.
async fn rechecking(store: Store) -> (TestService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let options = Options {
        provider: "recheck_secs = 60",
        keys: "encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"".to_owned(),
        clock: Some(clock.clone()),
        ..Options::default()
    };
    (TestService::start_with(store, options).await, clock)
}

async fn offline_sign_in(service: &TestService, user: &str) -> Tokens {
    let scope = "openid profile email offline_access".to_owned();
    let code = service.idp().control().issue_code(SignIn { scope, ..sign_in(user) });
    Tokens::of(service.login(&code).await).await
}

on_both_stores! {
    async fn somebody_disabled_at_the_provider_is_out_once_it_is_asked_again(store: Store) {
        let (service, clock) = rechecking(store).await;
        let alice = offline_sign_in(&service, "alice").await;
        let bob = offline_sign_in(&service, "bob").await;
        service.idp().control().disable_user("alice");
        let alice = service.refreshed(&alice.refresh).await;
        clock.advance(Duration::from_mins(1));
        let refresh = service.refresh(&alice.refresh);
        let answer = refresh.send().await.unwrap();
        assert_error(answer, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        assert!(service.row(&alice.sid()).await.contains("provider_refused"));
        service.refreshed(&bob.refresh).await;
        assert!(service.metrics().await.contains(
            "mintgate_sessions_revoked_total{reason=\"provider_refused\"} 1"
        ));
    }

    async fn case_45_a_providers_refresh_token_is_stored_sealed(store: Store) {
        let (service, clock) = rechecking(store).await;
        let alice = offline_sign_in(&service, "alice").await;
        let dump = service.dump().await;
        let [row] = dump.rows("upstream_tokens") else { panic!("one row") };
        assert!(row.contains("eyJ"), "a JWE: {row}");
        clock.advance(Duration::from_mins(1));
        service.refreshed(&alice.refresh).await;
        let renewed = service.dump().await;
        assert_ne!(renewed.rows("upstream_tokens"), dump.rows("upstream_tokens"));
        assert_eq!(service.idp().control().stats().refreshes, 1);
    }

    async fn a_provider_that_is_down_when_it_should_be_asked_signs_nobody_out(store: Store) {
        let (service, clock) = rechecking(store).await;
        let alice = offline_sign_in(&service, "alice").await;
        clock.advance(Duration::from_mins(1));
        let failing = FaultKind::Status { status: 503, body: String::new() };
        let faults = Faults { token: Some(failing.into()), ..Faults::default() };
        service.idp().control().set_faults(faults);
        service.refreshed(&alice.refresh).await;
    }
}
