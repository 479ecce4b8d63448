//! The limits on callers: what they refuse, what that says, and whom they leave alone.

use std::sync::Arc;
use std::time::Duration;

use crate::common::session::cookies;
use crate::common::{Options, Store, TestService, assert_error, bare};
use mintgate::system::SystemClock;
use mintgate_domain::ports::Clock as _;
use mintgate_mock_idp::{FaultKind, Faults};
use mintgate_testkit::ManualClock;
use mintgate_testkit::http::RequestBuilder;
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

async fn assert_counted(service: &TestService, limit: &str, outcome: &str, count: u32) {
    let metrics = service.metrics().await;
    let line =
        format!("mintgate_rate_limit_total{{limit=\"{limit}\",outcome=\"{outcome}\"}} {count}");
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
    assert_counted(&service, "refused_sign_ins", "refused", 1).await;

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
    assert_counted(&service, "refused_sign_ins", "unknown_proxy", 4).await;
}

/// A service behind a proxy that names its callers, and the clock that it goes by.
async fn behind_a_proxy(limits: &str) -> (TestService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let options = Options {
        more: format!("[limits]\n{limits}"),
        server: "trusted_proxies = [\"127.0.0.0/8\"]",
        clock: Some(clock.clone()),
        ..Options::default()
    };
    (TestService::start_with(Store::Sqlite, options).await, clock)
}

async fn from(caller: &str, request: RequestBuilder) -> Response {
    request.header("x-forwarded-for", caller).send().await.unwrap()
}

#[tokio::test]
async fn a_refusal_says_which_limit_it_is_and_how_long_to_wait_and_waiting_suffices() {
    let (service, clock) = behind_a_proxy("logins_per_minute = 2").await;
    let login = || service.login_request(&json!({"provider": "corp"}));
    for _ in 0..2 {
        assert_eq!(from("192.0.2.1", login()).await.status(), StatusCode::OK);
    }
    clock.advance(Duration::from_millis(600));
    let limited = from("192.0.2.1", login()).await;
    let header = |name: &str| limited.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("retry-after"), "30", "29.4 seconds, rounded up");
    assert_eq!(header("ratelimit"), "\"logins\";r=0;t=30");
    assert_eq!(header("ratelimit-policy"), "\"logins\";q=2;w=60");
    expect(limited, LIMITED).await;
    assert_eq!(from("192.0.2.2", login()).await.status(), StatusCode::OK, "somebody else");
    assert_counted(&service, "logins", "refused", 1).await;
    assert_counted(&service, "session_refreshes", "refused", 0).await;
    clock.advance(Duration::from_secs(30));
    assert_eq!(from("192.0.2.1", login()).await.status(), StatusCode::OK);
    expect(from("192.0.2.1", login()).await, LIMITED).await;
}

#[tokio::test]
async fn callers_on_this_machine_and_of_exempt_networks_are_not_limited() {
    let limits = "logins_per_minute = 1\nexempt = [\"198.51.100.0/24\"]";
    let (service, _clock) = behind_a_proxy(limits).await;
    for caller in ["198.51.100.7", "127.0.0.1", "::1", "::ffff:198.51.100.8"] {
        for _ in 0..3 {
            let login = service.login_request(&json!({"provider": "corp"}));
            assert_eq!(from(caller, login).await.status(), StatusCode::OK, "{caller}");
        }
    }
}

#[tokio::test]
async fn a_caller_whose_address_cannot_be_read_counts_for_the_proxy_and_is_not_exempt() {
    let limits = "logins_per_minute = 1\nexempt = [\"127.0.0.0/8\"]";
    let (service, _clock) = behind_a_proxy(limits).await;
    let login = || service.login_request(&json!({"provider": "corp"}));
    assert_eq!(from("a", login()).await.status(), StatusCode::OK);
    for unreadable in ["b", "", "192.0.2.1, unknown"] {
        expect(from(unreadable, login()).await, LIMITED).await;
    }
    assert_eq!(from("192.0.2.1", login()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn who_shows_garbage_stops_no_genuine_refresh_of_the_same_network() {
    let (service, _clock) = behind_a_proxy("refused_refreshes_per_minute = 2").await;
    let tokens = service.signed_in().await;
    let caller = "192.0.2.1";
    for _ in 0..2 {
        let refused = from(caller, service.refresh("garbage")).await;
        expect(refused, (StatusCode::UNAUTHORIZED, "INVALID_REFRESH_TOKEN")).await;
    }
    let limited = from(caller, service.refresh("garbage")).await;
    assert!(cookies(&limited).is_empty());
    expect(limited, LIMITED).await;
    let refreshed = from(caller, service.refresh(&tokens.refresh)).await;
    assert_eq!(refreshed.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_session_is_limited_by_its_genuine_tokens_alone_and_stays_as_it_is() {
    let (service, clock) = behind_a_proxy("session_refreshes_per_minute = 2").await;
    let mut tokens = service.signed_in().await;
    let forged = format!("{}AAAA", &tokens.refresh[..tokens.refresh.len() - 4]);
    for n in 0..100 {
        let refused = from(&format!("192.0.2.{n}"), service.refresh(&forged)).await;
        expect(refused, (StatusCode::UNAUTHORIZED, "INVALID_REFRESH_TOKEN")).await;
    }
    let other = service.signed_in().await;
    for _ in 0..2 {
        let refreshed = from("192.0.2.1", service.refresh(&tokens.refresh)).await;
        tokens = crate::common::Tokens::of(refreshed).await;
    }
    let before = service.dump().await;
    let limited = from("198.51.100.1", service.refresh(&tokens.refresh)).await;
    assert_eq!(limited.headers()["retry-after"], "30");
    assert!(cookies(&limited).is_empty());
    expect(limited, LIMITED).await;
    assert_eq!(service.dump().await, before, "nothing was written");
    let refreshed = from("198.51.100.1", service.refresh(&other.refresh)).await;
    assert_eq!(refreshed.status(), StatusCode::OK, "another session");
    clock.advance(Duration::from_secs(30));
    let refreshed = from("198.51.100.1", service.refresh(&tokens.refresh)).await;
    assert_eq!(refreshed.status(), StatusCode::OK);
    assert_counted(&service, "session_refreshes", "refused", 1).await;
}

#[tokio::test]
async fn sign_ins_and_refused_logout_tokens_have_limits_of_their_own() {
    let limits = "sign_ins_per_minute = 1\nrefused_logout_tokens_per_minute = 1";
    let (service, _clock) = behind_a_proxy(limits).await;
    let caller = "2001:db8::1";
    let signed_in = from(caller, service.post(&bare(&service.code()))).await;
    assert_eq!(signed_in.status(), StatusCode::OK);
    let code = service.code();
    expect(from("2001:db8::2", service.post(&bare(&code))).await, LIMITED).await;
    let signed_in = from("2001:db8:0:1::1", service.post(&bare(&code))).await;
    assert_eq!(signed_in.status(), StatusCode::OK, "the code was not sent before");

    let logout = || {
        let url = service.url("/api/v1/auth/backchannel-logout/corp");
        service.client.post(url).form(&[("logout_token", "garbage")])
    };
    expect(from(caller, logout()).await, (StatusCode::BAD_REQUEST, "INVALID_LOGOUT_TOKEN")).await;
    expect(from(caller, logout()).await, LIMITED).await;
}

#[tokio::test]
async fn a_provider_is_shared_out_among_the_networks_that_sign_in_there() {
    let limits = "provider_sign_ins_per_minute = 4\nrefused_sign_ins_per_minute = 0";
    let (service, clock) = behind_a_proxy(limits).await;
    let (fuzzer, guess) = ("192.0.2.1", || service.post(&bare("a guess")));
    for _ in 0..4 {
        expect(from(fuzzer, guess()).await, REFUSED).await;
    }
    clock.advance(Duration::from_secs(20));
    for _ in 0..10 {
        let limited = from(fuzzer, guess()).await;
        assert_eq!(limited.headers()["ratelimit"], "\"provider_sign_ins\";r=0;t=40");
        expect(limited, LIMITED).await;
    }
    assert_counted(&service, "provider_sign_ins", "refused", 10).await;
    for other in ["192.0.2.2", "192.0.2.3", "2001:db8::1", "192.0.2.4", "192.0.2.5"] {
        let signed_in = from(other, service.post(&bare(&service.code()))).await;
        assert_eq!(signed_in.status(), StatusCode::OK, "{other}");
    }
    let body = json!({"authCode": "x", "provider": "nobody"});
    let unknown = from(fuzzer, service.post(&body)).await;
    expect(unknown, (StatusCode::BAD_REQUEST, "UNKNOWN_PROVIDER")).await;
    clock.advance(Duration::from_secs(40));
    let signed_in = from(fuzzer, service.post(&bare(&service.code()))).await;
    assert_eq!(signed_in.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_provider_that_is_down_costs_nobody_a_sign_in() {
    let limits = "sign_ins_per_minute = 3\nprovider_sign_ins_per_minute = 3\nrefused_sign_ins_per_minute = 3";
    let (service, clock) = behind_a_proxy(limits).await;
    let down = FaultKind::Status { status: 503, body: String::new() };
    service.idp().control().set_faults(Faults { token: Some(down.into()), ..Faults::default() });
    // Five that the provider answers, and others that are not sent.
    for _ in 0..20 {
        let failed = from("192.0.2.1", service.post(&bare(&service.code()))).await;
        assert!(failed.status().is_server_error(), "{}", failed.status());
    }
    service.idp().control().set_faults(Faults::default());
    clock.advance(Duration::from_secs(10));
    for _ in 0..3 {
        let signed_in = from("192.0.2.1", service.post(&bare(&service.code()))).await;
        assert_eq!(signed_in.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn what_machines_ask_for_is_never_limited() {
    let (service, _clock) = behind_a_proxy("logins_per_minute = 1\nsign_ins_per_minute = 1").await;
    let paths =
        ["/.well-known/jwks.json", "/.well-known/openid-configuration", "/api/v1/auth/providers"];
    for path in paths {
        for _ in 0..20 {
            let answer = from("192.0.2.1", service.client.get(service.url(path))).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
        }
    }
}
