//! Providers that are asked again at a refresh, over real HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Options, Store, TestService, Tokens, assert_error, sign_in};
use crate::on_both_stores;
use mintgate::system::SystemClock;
use mintgate_domain::ports::Clock as _;
use mintgate_mock_idp::{FaultKind, Faults, Habit, IdTokenRecipe, SignIn, SignWith};
use mintgate_testkit::ManualClock;
use reqwest::StatusCode;
use serde_json::json;
use url::Url;

/// A service that asks its provider again once a minute, and the clock it goes by.
async fn rechecking(store: Store) -> (TestService, Arc<ManualClock>) {
    rechecking_with(store, "recheck_secs = 60").await
}

async fn rechecking_with(store: Store, provider: &'static str) -> (TestService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let options = Options {
        provider,
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

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "never: {what}");
}

fn rechecks(result: &str, count: u64) -> String {
    format!("mintgate_provider_rechecks_total{{outcome=\"{result}\",provider=\"corp\"}} {count}")
}

#[tokio::test]
async fn a_hanging_provider_holds_no_refresh_for_a_second_and_its_circuit_opens() {
    let lines =
        "recheck_secs = 60\nconnect_timeout_ms = 1500\ntimeout_ms = 1500\ncircuit_failures = 2";
    let (service, clock) = rechecking_with(Store::Sqlite, lines).await;
    let mut people = Vec::new();
    for user in ["alice", "bob"] {
        people.push(offline_sign_in(&service, user).await);
    }
    clock.advance(Duration::from_mins(1));
    let hanging = Faults { token: Some(FaultKind::Hang.into()), ..Faults::default() };
    service.idp().control().set_faults(hanging);
    let machine = SystemClock::new();
    for person in &mut people {
        let begun = machine.monotonic();
        *person = service.refreshed(&person.refresh).await;
        let took = machine.monotonic().saturating_sub(begun);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let open = "mintgate_provider_circuit_state{provider=\"corp\"} 2";
    until("the circuit opens", async || service.metrics().await.contains(open)).await;
    service.idp().control().clear_faults();
    for person in &people {
        service.refreshed(&person.refresh).await;
    }
}

#[tokio::test]
async fn an_answer_that_comes_after_the_refresh_is_kept() {
    let (service, clock) = rechecking(Store::Sqlite).await;
    let alice = offline_sign_in(&service, "alice").await;
    let before = service.dump().await;
    clock.advance(Duration::from_mins(1));
    let slow = FaultKind::Delay { ms: 1500 };
    service.idp().control().set_faults(Faults { token: Some(slow.into()), ..Faults::default() });
    let alice = service.refreshed(&alice.refresh).await;
    let kept = async || {
        service.dump().await.rows("upstream_tokens") != before.rows("upstream_tokens")
            && service.metrics().await.contains(&rechecks("confirmed", 1))
    };
    until("the new refresh token is kept", kept).await;
    service.idp().control().clear_faults();
    clock.advance(Duration::from_mins(1));
    service.refreshed(&alice.refresh).await;
    assert_eq!(service.idp().control().stats().refreshes, 2, "the provider takes the new one");
}

#[tokio::test]
async fn a_forged_answer_confirms_nothing_and_loses_no_refresh_token() {
    crate::common::log::keep();
    let (service, clock) = rechecking(Store::Sqlite).await;
    let alice = offline_sign_in(&service, "alice").await;
    clock.advance(Duration::from_mins(1));
    let forged = IdTokenRecipe { sign: SignWith::AttackerKeySameKid, ..IdTokenRecipe::default() };
    service.idp().control().set_faults(Faults { id_token: Some(forged), ..Faults::default() });
    let alice = service.refreshed(&alice.refresh).await;
    let metrics = service.metrics().await;
    assert!(metrics.contains(&rechecks("failed", 1)), "{metrics}");
    assert!(!metrics.contains(&rechecks("confirmed", 1)), "{metrics}");
    let is_told = |line: serde_json::Value| {
        line["target"] == "mintgate_identity_openid::guard"
            && line["level"] == "WARN"
            && line["span"]["name"] == "renew"
            && line["error"].is_string()
    };
    assert!(crate::common::log::lines().any(is_told));
    service.idp().control().clear_faults();
    clock.advance(Duration::from_mins(1));
    service.refreshed(&alice.refresh).await;
    assert!(service.metrics().await.contains(&rechecks("confirmed", 1)));
}

#[tokio::test]
async fn an_answer_for_somebody_or_something_else_ends_the_session() {
    for claims in [
        json!({ "iss": "https://other.example.com" }),
        json!({ "aud": "other" }),
        json!({ "sub": "mock|bob" }),
    ] {
        let (service, clock) = rechecking(Store::Sqlite).await;
        let alice = offline_sign_in(&service, "alice").await;
        clock.advance(Duration::from_mins(1));
        let claims = claims.as_object().unwrap().clone();
        let foreign = IdTokenRecipe { claims, ..IdTokenRecipe::default() };
        service.idp().control().set_faults(Faults { id_token: Some(foreign), ..Faults::default() });
        let answer = service.refresh(&alice.refresh).send().await.unwrap();
        assert_error(answer, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        assert!(service.metrics().await.contains(&rechecks("refused", 1)));
    }
}

#[tokio::test]
async fn a_failed_recheck_is_logged_with_its_reason() {
    crate::common::log::keep();
    let (service, clock) = rechecking(Store::Sqlite).await;
    let alice = offline_sign_in(&service, "alice").await;
    clock.advance(Duration::from_mins(1));
    let locked = FaultKind::Status {
        status: 400,
        body: r#"{"error":"invalid_request","error_description":"the account of 4711 is locked"}"#
            .to_owned(),
    };
    service.idp().control().set_faults(Faults { token: Some(locked.into()), ..Faults::default() });
    service.refreshed(&alice.refresh).await;
    assert!(crate::common::log::text().contains("the account of 4711 is locked"));
}

#[tokio::test]
async fn the_scope_for_a_refresh_token_is_asked_for_with_consent_and_only_where_it_is_announced() {
    let (service, _) = rechecking(Store::Sqlite).await;
    let pairs = |url: &str| -> BTreeMap<String, String> {
        Url::parse(url).unwrap().query_pairs().into_owned().collect()
    };
    let begun = service.begin_login("corp").await;
    let request = pairs(&begun.authorization_url);
    assert_eq!(request["scope"], "openid profile email offline_access");
    assert_eq!(request["prompt"], "consent");
    // A provider that grants it with consent alone signs in, and can be asked again.
    let habits = vec![Habit::ConsentForOffline];
    service.idp().control().set_faults(Faults { habits, ..Faults::default() });
    let mut form = request.clone();
    form.insert("user".to_owned(), "alice".to_owned());
    let authorize = service.idp().urls().authorize.clone();
    let answer = service.client.post(authorize).form(&form).send().await.unwrap();
    let response = pairs(answer.headers()["location"].to_str().unwrap());
    Tokens::of(service.finish(&response, begun.cookie()).send().await.unwrap()).await;
    assert_eq!(service.dump().await.rows("upstream_tokens").len(), 1);

    let (service, _) = rechecking(Store::Sqlite).await;
    let habits = vec![Habit::NoOfflineScope];
    service.idp().control().set_faults(Faults { habits, ..Faults::default() });
    let request = pairs(&service.begin_login("corp").await.authorization_url);
    assert_eq!(request["scope"], "openid profile email");
    assert!(!request.contains_key("prompt"));
    let (response, cookie) = service.response_for("alice").await;
    Tokens::of(service.finish(&response, &cookie).send().await.unwrap()).await;
}
