//! The way back from the provider: how a login ends, and what must not end it.

use std::sync::Arc;
use std::time::Duration;

use mintgate::system::SystemClock;
use mintgate_domain::ports::Clock as _;
use mintgate_mock_idp::{FaultKind, Faults};
use mintgate_testkit::ManualClock;
use reqwest::StatusCode;
use serde_json::json;

use super::{APP, options, service};
use crate::common::browser::{Browser, location, navigating, return_to};
use crate::common::session::{ME, cookies};
use crate::common::{Options, Store, TestService, assert_error};
use crate::on_both_stores;

/// Changes a parameter of the callback's query.
fn with(callback: &str, name: &str, value: Option<&str>) -> String {
    let (path, query) = callback.split_once('?').unwrap();
    let mut changed = url::form_urlencoded::Serializer::new(String::new());
    for (other, old) in url::form_urlencoded::parse(query.as_bytes()) {
        if other != name {
            changed.append_pair(&other, &old);
        }
    }
    if let Some(value) = value {
        changed.append_pair(name, value);
    }
    format!("{path}?{}", changed.finish())
}

on_both_stores! {
    async fn case_18_a_response_that_is_not_this_browsers_opens_nothing_and_keeps_the_own_login(store: Store) {
        let service = service(store).await;
        let mut attacker = Browser::new(&service);
        let attack = attacker.is_sent_back("", "bob").await;
        let mut victim = Browser::new(&service);
        let own = victim.is_sent_back("?returnTo=/mine", "alice").await;
        let doubled = victim.cookies.iter().next().map(|(name, value)| format!("{name}={value}; {name}={value}"));
        let victims_state = "mg.".to_owned() + &own.split("mg.").nth(1).unwrap()[..43];
        let code_alone = with(&own, "state", None);
        let before = service.dump().await;
        for (name, path) in [
            ("the attacker's", attack.as_str()),
            ("without a state", &with(&attack, "state", None)),
            ("without a state, own code", &code_alone),
            ("an empty state", &with(&attack, "state", Some(""))),
            ("a state of the right form", &with(&attack, "state", Some("mg.x"))),
            ("somebody else's state", &with(&attack, "state", Some("af0ifjsldkj"))),
            ("an error", "/api/v1/auth/callback/corp?error=access_denied&state=mg.x"),
            ("nothing at all", "/api/v1/auth/callback/corp"),
            ("another provider", "/api/v1/auth/callback/other?code=a&state=mg.x"),
        ] {
            for mut browser in [Browser::new(&service), victim.copy()] {
                let cookies_before = browser.cookies.clone();
                let answer = browser.goes_to(path).await;
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}");
                assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
                let page = answer.text().await.unwrap();
                assert!(page.contains("INVALID_STATE"), "{name}: {page}");
                let may_begin = !path.contains("/other");
                assert_eq!(page.contains("href=\"../start/corp\""), may_begin, "{name}: {page}");
                assert_eq!(browser.cookies, cookies_before, "{name}");
            }
        }
        // By a form of another site, and by a program.
        let form = [("code", "x"), ("state", "af0ifjsldkj")];
        let posted = service.client.post(service.url("/api/v1/auth/callback/corp")).form(&form);
        service.refused(victim.with_cookies(posted), StatusCode::UNAUTHORIZED, "INVALID_STATE").await;
        let planted = service.client.get(service.url(&own)).header("cookie", doubled.unwrap());
        service.refused(planted, StatusCode::UNAUTHORIZED, "INVALID_STATE").await;
        assert_eq!(service.dump().await, before);
        assert_eq!(service.idp().control().stats().token, 0, "no code was sent anywhere");

        // The right state with what belongs to another login: the login's own response still ends it.
        let wrong = with(&attack, "state", Some(&victims_state));
        for (path, result) in [
            (with(&own, "iss", Some("https://evil.test")), "INVALID_STATE"),
            (with(&own, "iss", None), "INVALID_STATE"),
        ] {
            let answer = victim.goes_to(&path).await;
            assert_eq!(location(&answer), format!("{APP}/mine?mintgate_result={result}"));
        }
        assert_eq!(service.idp().control().stats().token, 0, "no code was sent anywhere");
        let answer = victim.copy().goes_to(&wrong).await;
        assert_eq!(location(&answer), format!("{APP}/mine?mintgate_result=INVALID_AUTH_CODE"));
        assert_eq!(service.dump().await, before);
        let answer = victim.goes_to(&own).await;
        assert_eq!(location(&answer), format!("{APP}/mine?mintgate_result=signed_in"));
    }

    async fn the_session_that_a_login_replaces_in_its_browser_has_ended(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        browser.signs_in("", "alice").await;
        let (first, elsewhere) = (browser.access().to_owned(), service.signed_in().await);
        // Two logins at once, finished in reverse order, each at its own page.
        let one = browser.is_sent_back("?returnTo=/one", "alice").await;
        let two = browser.is_sent_back("?returnTo=/two", "bob").await;
        let answer = browser.goes_to(&two).await;
        assert_eq!(location(&answer), format!("{APP}/two?mintgate_result=signed_in"));
        let second = browser.access().to_owned();
        let answer = browser.goes_to(&one).await;
        assert_eq!(location(&answer), format!("{APP}/one?mintgate_result=signed_in"));
        for (token, status) in [
            (first.as_str(), StatusCode::UNAUTHORIZED),
            (&second, StatusCode::UNAUTHORIZED),
            (browser.access(), StatusCode::OK),
            (&elsewhere.access, StatusCode::OK),
        ] {
            let asked = service.client.get(service.url(ME)).bearer_auth(token);
            assert_eq!(asked.send().await.unwrap().status(), status);
        }
        // A cookie that is no token is in nobody's way.
        browser.cookies.insert("Auth-Access-Token".to_owned(), "x".to_owned());
        browser.signs_in("", "alice").await;
    }

    async fn a_response_that_is_loaded_many_times_at_once_is_one_session(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        let callback = browser.is_sent_back("", "alice").await;
        let loads = (0..8).map(|_| browser.navigation(&callback).send());
        for answer in futures_util::future::join_all(loads).await {
            let answer = answer.unwrap();
            assert_eq!(location(&answer), format!("{APP}/?mintgate_result=signed_in"));
        }
        assert_eq!(service.sessions().await, 1);
        assert_eq!(service.idp().control().stats().exchanges, 1);
    }
}

#[tokio::test]
async fn what_the_provider_says_in_place_of_a_code_comes_back_as_a_code_of_ours_alone() {
    let service = service(Store::Sqlite).await;
    for (error, result) in [
        ("access_denied", "LOGIN_CANCELLED"),
        ("user_cancelled_authorize", "LOGIN_CANCELLED"),
        ("login_required", "LOGIN_CANCELLED"),
        ("temporarily_unavailable", "PROVIDER_UNAVAILABLE"),
        ("server_error", "PROVIDER_ERROR"),
        ("invalid_scope", "PROVIDER_ERROR"),
        ("<script>alert(1)</script>", "PROVIDER_ERROR"),
    ] {
        let mut browser = Browser::new(&service);
        let callback = browser.is_sent_back("?returnTo=/a%23b", "alice").await;
        let declined = with(&callback, "code", None);
        let declined = with(&declined, "error", Some(error));
        let declined = with(&declined, "error_description", Some("secret words"));
        let declined = with(&declined, "error_uri", Some("https://evil.test"));
        let answer = browser.goes_to(&declined).await;
        assert_eq!(location(&answer), format!("{APP}/a?mintgate_result={result}#b"));
        let is_over = result == "LOGIN_CANCELLED";
        assert_eq!(browser.cookies.is_empty(), is_over, "{error}");
    }
    assert_eq!(service.idp().control().stats().token, 0, "nothing was sent to the provider");
    let metrics = service.metrics().await;
    let counted =
        "mintgate_token_generation_total{outcome=\"login_cancelled\",provider=\"corp\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn who_takes_too_long_comes_back_to_the_page_and_can_begin_again() {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let more = format!("{}[login]\nttl_secs = 5\n", options().more);
    let options = Options { more, clock: Some(clock.clone()), ..options() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let mut browser = Browser::new(&service);
    let callback = browser.is_sent_back("?returnTo=/a%3Fb", "alice").await;
    clock.advance(Duration::from_secs(10));
    let answer = browser.goes_to(&callback).await;
    assert_eq!(location(&answer), format!("{APP}/a?b&mintgate_result=LOGIN_EXPIRED"));
    assert_eq!(service.idp().control().stats().token, 0, "the code was not sent on");
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies.keys());
    let reached = browser.signs_in("?returnTo=/a%3Fb", "alice").await;
    assert_eq!(reached, format!("{APP}/a?b&mintgate_result=signed_in"));
}

#[tokio::test]
async fn the_page_is_judged_again_when_the_browser_is_back() {
    let mut service = service(Store::Sqlite).await;
    let (callback, cookies) = {
        let mut browser = Browser::new(&service);
        (browser.is_sent_back("", "alice").await, browser.cookies)
    };
    service.restart_with(|text| text.replace(APP, "https://other.example.com"));
    let mut browser = Browser::new(&service);
    browser.cookies = cookies;
    let answer = browser.goes_to(&callback).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(!answer.headers().contains_key("location"));
    assert!(answer.text().await.unwrap().contains("RETURN_TO_NOT_ALLOWED"));
    assert_eq!(service.idp().control().stats().token, 0, "the code was not sent on");
}

#[tokio::test]
async fn a_robot_that_opens_the_response_first_does_not_use_it_up() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    let callback = browser.is_sent_back("", "alice").await;
    let (mode, dest) = ("sec-fetch-mode", "sec-fetch-dest");
    // Without cookies; ahead of time, by a script, in a frame, as an image or by HEAD with them.
    let robot = service.client.get(service.url(&callback));
    service.refused(robot, StatusCode::UNAUTHORIZED, "INVALID_STATE").await;
    let request = || browser.with_cookies(service.client.get(service.url(&callback)));
    for request in [
        request().header("sec-purpose", "prefetch").header(mode, "navigate"),
        request().header(mode, "cors"),
        request().header(mode, "no-cors").header(dest, "image"),
        request().header(mode, "navigate").header(dest, "iframe"),
    ] {
        service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    }
    let head = browser.with_cookies(service.client.head(service.url(&callback)));
    assert_eq!(head.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(service.idp().control().stats().token, 0, "the code was not sent on");
    let answer = browser.goes_to(&callback).await;
    assert_eq!(location(&answer), format!("{APP}/?mintgate_result=signed_in"));
}

#[tokio::test]
async fn a_refused_sign_in_is_told_to_the_page_and_one_that_may_be_repeated_keeps_its_cookie() {
    let more = format!(
        "{}[users]\nadmission = \"listed\"\nadmit_emails = [\"alice@example.com\"]\n",
        options().more
    );
    let service = TestService::start_with(Store::Sqlite, Options { more, ..options() }).await;
    let mut browser = Browser::new(&service);
    let reached = browser.signs_in("", "bob").await;
    assert_eq!(reached, format!("{APP}/?mintgate_result=ACCESS_DENIED"));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies.keys());
    let callback = browser.is_sent_back("", "alice").await;
    let failing = FaultKind::Status { status: 500, body: String::new() };
    service.idp().control().set_faults(Faults { token: Some(failing.into()), ..Faults::default() });
    let answer = browser.goes_to(&callback).await;
    assert_eq!(location(&answer), format!("{APP}/?mintgate_result=PROVIDER_ERROR"));
    assert_eq!(browser.cookies.len(), 1, "the login's cookie");
    assert_eq!(service.sessions().await, 0);
}

#[tokio::test]
async fn a_response_with_a_parameter_twice_or_too_long_is_refused_where_it_came() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    let callback = browser.is_sent_back("", "alice").await;
    for path in [
        format!("{callback}&code=other"),
        format!("{callback}&state=other"),
        with(&callback, "code", Some(&"c".repeat(7000))).replace("code=c", "code=%0A"),
    ] {
        let answer = service.client.get(service.url(&path));
        let answer = browser.with_cookies(answer).send().await.unwrap();
        let body = assert_error(answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_ne!(body["details"], json!(null));
    }
    let nothing = with(&callback, "code", None);
    let answer = browser.goes_to(&nothing).await;
    assert_eq!(location(&answer), format!("{APP}/?mintgate_result=INVALID_REQUEST"));
    assert_eq!(service.idp().control().stats().token, 0, "no code was sent anywhere");
    browser.goes_to(&callback).await;
    assert_eq!(service.sessions().await, 1);
}

#[tokio::test]
async fn a_session_cookie_that_comes_twice_is_cleared_and_the_login_can_still_end() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    let callback = browser.is_sent_back(&return_to("/a"), "alice").await;
    let (name, value) = browser.cookies.iter().next().unwrap();
    let planted = format!("{name}={value}; Auth-Access-Token=a; Auth-Access-Token=b");
    let request = navigating(service.client.get(service.url(&callback)));
    let answer = request.header("cookie", planted).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(cookies(&answer).iter().all(|cookie| cookie.starts_with("Auth-Access-Token=; ")));
    assert!(answer.text().await.unwrap().contains("DUPLICATE_COOKIE"));
    let answer = browser.goes_to(&callback).await;
    assert_eq!(location(&answer), format!("{APP}/a?mintgate_result=signed_in"));
}
