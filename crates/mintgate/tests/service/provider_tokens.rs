//! The provider's own access token of a session, for the back end of an app, over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mintgate::system::SystemClock;
use mintgate_domain::TokenHash;
use mintgate_domain::ports::Clock as _;
use mintgate_mock_idp::{FaultKind, Faults, SignIn};
use mintgate_testkit::ManualClock;
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::common::{Options, Store, TestService, Tokens, assert_error, sign_in};
use crate::on_both_stores;

pub(crate) const PATH: &str = "/api/v1/auth/provider-token";
pub(crate) const SECRET: &str = "kY3vJb1pYF9cZ0Qh0m1T9wqkq0gI7d3k5m3s2b8Xw0A";
/// How long the provider's access tokens live.
pub(crate) const LIFE: Duration = Duration::from_mins(1);

fn clients() -> String {
    format!(
        "[[clients]]\nid = \"app\"\nsecret_hash = \"{}\"\nprovider_tokens = [\"corp\"]\n\
         [[clients]]\nid = \"jobs\"\nsecret_hash = \"{}\"\n",
        TokenHash::of(SECRET).to_hex(),
        TokenHash::of("other").to_hex()
    )
}

pub(crate) async fn keeping(
    store: Store,
    provider: &'static str,
) -> (TestService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let options = Options {
        provider,
        more: clients(),
        keys: "encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"".to_owned(),
        clock: Some(clock.clone()),
        ..Options::default()
    };
    let service = TestService::start_with(store, options).await;
    service.idp().control().set_faults(short_lived());
    (service, clock)
}

/// The clock of the provider goes on by itself, so its ID tokens must outlive a few of its access tokens.
pub(crate) fn short_lived() -> Faults {
    let members = json!({ "expires_in": LIFE.as_secs() }).as_object().unwrap().clone();
    Faults { token_merge: members, ..Faults::default() }
}

pub(crate) const KEPT: &str = "keep_access_token = true";

impl TestService {
    pub(crate) async fn offline_sign_in(&self) -> Tokens {
        let scope = "openid profile email offline_access".to_owned();
        let code = self.idp().control().issue_code(SignIn { scope, ..sign_in("alice") });
        Tokens::of(self.login(&code).await).await
    }

    pub(crate) fn provider_token(&self, sid: &str) -> RequestBuilder {
        self.anonymous(&json!({ "sid": sid })).basic_auth("app", Some(SECRET))
    }

    fn anonymous(&self, body: &Value) -> RequestBuilder {
        self.client.post(self.url(PATH)).json(body)
    }

    /// The answer of a request that gets a token.
    pub(crate) async fn granted(&self, request: RequestBuilder) -> Value {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers().get("set-cookie"), None);
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Whether the provider takes an access token.
    pub(crate) async fn is_good(&self, token: &str) -> bool {
        let userinfo =
            self.client.get(self.idp().urls().userinfo.clone().unwrap()).bearer_auth(token);
        userinfo.send().await.unwrap().status() == StatusCode::OK
    }
}

pub(crate) fn token(answer: &Value) -> &str {
    answer["accessToken"].as_str().unwrap()
}

on_both_stores! {
    async fn a_back_end_gets_a_token_that_the_provider_takes(store: Store) {
        let (service, clock) = keeping(store, KEPT).await;
        let alice = service.offline_sign_in().await;
        let first = service.granted(service.provider_token(&alice.sid())).await;
        assert_eq!(first["tokenType"], "Bearer");
        assert_eq!(first["scope"], "openid profile email offline_access");
        assert!((55..=60).contains(&first["expiresIn"].as_u64().unwrap()), "{first}");
        assert!(first["expiresAt"].as_str().unwrap().ends_with('Z'));
        assert!(service.is_good(token(&first)).await);
        assert_eq!(service.granted(service.provider_token(&alice.sid())).await["accessToken"], first["accessToken"]);

        // Sealed in the store, and gone from nothing by a refresh.
        let dump = service.dump().await;
        assert!(!format!("{dump:?}").contains(token(&first)));
        service.refreshed(&alice.refresh).await;
        clock.advance(LIFE);
        let second = service.granted(service.provider_token(&alice.sid())).await;
        assert_ne!(second["accessToken"], first["accessToken"]);
        assert!(service.is_good(token(&second)).await);
        clock.advance(LIFE);
        service.granted(service.provider_token(&alice.sid())).await;
        assert_eq!(service.idp().control().stats().refreshes, 2, "the rotated refresh token works");
        let counted = "mintgate_provider_tokens_total{outcome=\"renewed\",provider=\"corp\"} 2";
        assert!(service.metrics().await.contains(counted));
    }

    async fn many_requests_at_two_replicas_and_a_recheck_cause_one_renewal(store: Store) {
        let lines = "keep_access_token = true\nrecheck_secs = 60";
        let (service, clock) = keeping(store, lines).await;
        let alice = service.offline_sign_in().await;
        let sid = alice.sid();
        let replica = service.replica();
        clock.advance(LIFE);
        let at = |n: usize| {
            let service = &service;
            let url = if n.is_multiple_of(2) { service.url(PATH) } else { replica.url(PATH) };
            let request = service.client.post(url).json(&json!({ "sid": sid }));
            service.granted(request.basic_auth("app", Some(SECRET)))
        };
        let asking = join_all((0..20).map(at));
        let refreshing = service.refreshed(&alice.refresh);
        let (answers, _) = futures_util::future::join(asking, refreshing).await;
        for answer in &answers {
            assert_eq!(answer["accessToken"], answers[0]["accessToken"]);
        }
        assert_eq!(service.idp().control().stats().refreshes, 1);
        // The provider ends everything where a refresh token is shown twice.
        assert!(service.is_good(token(&answers[0])).await);
        clock.advance(LIFE);
        service.granted(service.provider_token(&sid)).await;
    }

    async fn an_ended_session_gives_no_token(store: Store) {
        let (service, _) = keeping(store, KEPT).await;
        let alice = service.offline_sign_in().await;
        service.granted(service.provider_token(&alice.sid())).await;
        service.log_out(&alice.access).send().await.unwrap();
        let request = service.provider_token(&alice.sid());
        service.refused(request, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    }

    async fn a_provider_that_refuses_leaves_the_session_without_a_token(store: Store) {
        let (service, clock) = keeping(store, KEPT).await;
        let alice = service.offline_sign_in().await;
        service.idp().control().disable_user("alice");
        clock.advance(LIFE);
        for _ in 0..2 {
            let answer = service.provider_token(&alice.sid()).send().await.unwrap();
            assert_error(answer, StatusCode::CONFLICT, "NO_PROVIDER_TOKEN").await;
        }
        service.refreshed(&alice.refresh).await;
    }
}

#[tokio::test]
async fn a_request_that_a_browser_can_make_is_refused() {
    let (service, _) = keeping(Store::Sqlite, KEPT).await;
    let alice = service.offline_sign_in().await;
    for (name, value) in [
        ("cookie", format!("Auth-Access-Token={}", alice.access)),
        ("cookie", "anything=1".to_owned()),
        ("origin", "http://localhost:8080".to_owned()),
        ("origin", "null".to_owned()),
        ("sec-fetch-site", "same-origin".to_owned()),
        ("sec-fetch-mode", "cors".to_owned()),
    ] {
        let request = service.provider_token(&alice.sid()).header(name, value);
        service.refused(request, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
    }
    let body = json!({ "sid": alice.sid() });
    for request in [
        service.anonymous(&body),
        service.anonymous(&body).bearer_auth(&alice.access),
        service.anonymous(&body).basic_auth("app", Some("wrong")),
        service.anonymous(&body).basic_auth("app", None::<&str>),
        service.anonymous(&body).basic_auth("nobody", Some(SECRET)),
        service.provider_token(&alice.sid()).bearer_auth(&alice.access),
    ] {
        let answer = request.send().await.unwrap();
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert_eq!(challenge, "Basic realm=\"mintgate\", charset=\"UTF-8\"");
        assert_error(answer, StatusCode::UNAUTHORIZED, "INVALID_CLIENT").await;
    }
    // A client of another purpose; and a form-encoded secret.
    let request = service.anonymous(&body).basic_auth("jobs", Some("other"));
    service.refused(request, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    let encoded = SECRET.replacen('k', "%6B", 1);
    service.granted(service.anonymous(&body).basic_auth("app", Some(encoded))).await;
}

#[tokio::test]
async fn a_session_is_named_by_its_sid_alone() {
    let (service, _) = keeping(Store::Sqlite, KEPT).await;
    for body in [json!({}), json!({ "sid": null }), json!({ "sid": 7 }), json!({ "sid": "me" })] {
        let request = service.anonymous(&body).basic_auth("app", Some(SECRET));
        let refused = service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_eq!(refused["details"][0]["field"], "sid", "{body}");
    }
    let unknown = service.provider_token("0192f0c1-2b3c-7def-8abc-0123456789ab");
    service.refused(unknown, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    let get = service.client.get(service.url(PATH));
    service.refused(get, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;
    let form = service.client.post(service.url(PATH)).form(&[("sid", "x")]);
    let form = form.basic_auth("app", Some(SECRET));
    service.refused(form, StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE").await;
}

#[tokio::test]
async fn a_provider_in_trouble_is_told_apart_and_nothing_is_lost() {
    let lines = "keep_access_token = true\nconnect_timeout_ms = 1000\ntimeout_ms = 1000";
    for (fault, status, code) in [
        (FaultKind::Hang, StatusCode::GATEWAY_TIMEOUT, "PROVIDER_TIMEOUT"),
        (
            FaultKind::Status { status: 500, body: String::new() },
            StatusCode::BAD_GATEWAY,
            "PROVIDER_ERROR",
        ),
    ] {
        let (service, clock) = keeping(Store::Sqlite, lines).await;
        let alice = service.offline_sign_in().await;
        clock.advance(LIFE);
        let faults = Faults { token: Some(fault.into()), ..short_lived() };
        service.idp().control().set_faults(faults);
        // What is written is that the provider was asked.
        assert_error(service.provider_token(&alice.sid()).send().await.unwrap(), status, code)
            .await;
        service.idp().control().clear_faults();
        // Nobody knows whether the refresh token was shown: another minute passes first.
        clock.advance(Duration::from_mins(1));
        service.granted(service.provider_token(&alice.sid())).await;
    }
    let (mut service, clock) = keeping(Store::Sqlite, lines).await;
    let alice = service.offline_sign_in().await;
    service.stop_provider().await;
    service.granted(service.provider_token(&alice.sid())).await;
    clock.advance(LIFE);
    for _ in 0..2 {
        let request = service.provider_token(&alice.sid());
        service.refused(request, StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_UNAVAILABLE").await;
    }
}

#[tokio::test]
async fn the_log_names_the_client_and_the_session_and_no_token() {
    crate::common::log::keep();
    let (service, _) = keeping(Store::Sqlite, KEPT).await;
    let alice = service.offline_sign_in().await;
    let answer = service.granted(service.provider_token(&alice.sid())).await;
    let log = crate::common::log::text();
    let mut lines = log.lines().filter(|line| line.contains("provider-token"));
    let line = lines.find(|line| line.contains(&alice.sid())).expect("a line");
    assert!(line.contains("\"client\":\"app\""), "{line}");
    for secret in [token(&answer), SECRET] {
        assert!(!log.contains(secret));
    }
}

#[tokio::test]
async fn a_restart_between_two_requests_loses_nothing() {
    let (mut service, clock) = keeping(Store::Sqlite, KEPT).await;
    let alice = service.offline_sign_in().await;
    clock.advance(LIFE);
    let first = service.granted(service.provider_token(&alice.sid())).await;
    service.restart();
    let again = service.granted(service.provider_token(&alice.sid())).await;
    assert_eq!(again["accessToken"], first["accessToken"]);
    clock.advance(LIFE);
    service.granted(service.provider_token(&alice.sid())).await;
    assert_eq!(service.idp().control().stats().refreshes, 2);
}
