//! The limit on how many sign-ins of one caller may be refused.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Options, Store, TestService, assert_error, bare};
use mintgate::system::SystemClock;
use mintgate_domain::ports::Clock as _;
use mintgate_testkit::ManualClock;
use reqwest::{Response, StatusCode};
use serde_json::json;

const LIMIT: &str = "[limits]\nrefused_sign_ins_per_minute = 2";
const LIMITED: (StatusCode, &str) = (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED");
const REFUSED: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE");

/// A service that lets two be refused, and the clock that it goes by.
async fn start() -> (TestService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let options =
        Options { more: LIMIT.to_owned(), clock: Some(clock.clone()), ..Options::default() };
    (TestService::start_with(Store::Sqlite, options).await, clock)
}

async fn expect(answer: Response, (status, code): (StatusCode, &str)) {
    assert_error(answer, status, code).await;
}

async fn assert_counted(service: &TestService, outcome: &str, count: u32) {
    let metrics = service.metrics().await;
    let line = format!("mintgate_sign_in_limit_total{{outcome=\"{outcome}\"}} {count}");
    assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
}

#[tokio::test]
async fn a_caller_whose_sign_ins_are_refused_too_often_waits_as_long_as_it_is_told() {
    let (service, clock) = start().await;
    let code = service.code();
    // Neither of these asks a provider.
    for _ in 0..3 {
        let body = json!({"authCode": "x", "provider": "nobody"});
        expect(
            service.post(&body).send().await.unwrap(),
            (StatusCode::BAD_REQUEST, "UNKNOWN_PROVIDER"),
        )
        .await;
    }
    expect(service.login("a guess").await, REFUSED).await;
    let forged = json!({"idToken": "e30.e30.e30", "provider": "corp", "nonce": "n"});
    let forged = service.post(&forged).send().await.unwrap();
    expect(forged, (StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN")).await;
    clock.advance(Duration::from_millis(17_500));
    let limited = service.login(&code).await;
    assert_eq!(limited.headers()["retry-after"], "43");
    expect(limited, LIMITED).await;
    assert_counted(&service, "refused", 1).await;

    clock.advance(Duration::from_secs(43));
    assert_eq!(service.login(&code).await.status(), StatusCode::OK, "the code was not sent before");
}

#[tokio::test]
async fn sign_ins_that_succeed_are_not_counted_and_linking_is_limited_as_well() {
    let (service, _clock) = start().await;
    let mut access = String::new();
    for _ in 0..4 {
        access = service.signed_in().await.access;
    }
    let (response, cookie) = service.response_for("bob").await;
    let mut guess = response.clone();
    guess.insert("code".to_owned(), "a guess".to_owned());
    for _ in 0..2 {
        expect(service.link(&access, &guess, &cookie).send().await.unwrap(), REFUSED).await;
    }
    expect(service.link(&access, &response, &cookie).send().await.unwrap(), LIMITED).await;
    expect(service.login(&service.code()).await, LIMITED).await;
}

#[tokio::test]
async fn callers_behind_a_trusted_proxy_are_told_apart_by_their_network() {
    let options = Options {
        more: LIMIT.to_owned(),
        server: "trusted_proxies = [\"127.0.0.0/8\"]",
        ..Options::default()
    };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let guess = |caller: &'static str| {
        service.post(&bare("a guess")).header("x-forwarded-for", caller).send()
    };
    for caller in ["[2001:db8::1]:1", "2001:db8::2"] {
        expect(guess(caller).await.unwrap(), REFUSED).await;
    }
    expect(guess("2001:db8:0:0:1::3").await.unwrap(), LIMITED).await;
    for caller in ["2001:db8:0:1::1", "198.51.100.7:1", "198.51.100.8"] {
        expect(guess(caller).await.unwrap(), REFUSED).await;
    }
}

#[tokio::test]
async fn callers_behind_a_proxy_that_nobody_has_named_are_not_limited_which_is_counted() {
    let (service, _clock) = start().await;
    for _ in 0..4 {
        let guess = service.post(&bare("a guess")).header("x-forwarded-for", "198.51.100.7");
        expect(guess.send().await.unwrap(), REFUSED).await;
    }
    assert_counted(&service, "unknown_proxy", 4).await;
}
