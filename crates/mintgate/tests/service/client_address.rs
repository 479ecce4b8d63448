//! `X-Auth-Client-Address`: a server that asks for others says for whom, and is not taken for the caller.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Options, Store, TestService, Tokens, assert_error, bare, log};
use mintgate::system::SystemClock;
use mintgate_domain::TokenHash;
use mintgate_domain::ports::Clock as _;
use mintgate_testkit::http::RequestBuilder;
use mintgate_testkit::{ManualClock, hs256};
use reqwest::{Response, StatusCode};
use serde_json::json;

const HEADER: &str = "X-Auth-Client-Address";
const KEY: &str = "wnHTqYHe3CLeXnXYvnHNMzYq3tgXmRMqNqPiPYgq4pU";
const LIMITED: (StatusCode, &str) = (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED");
const INVALID: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "INVALID_REQUEST");

struct Web {
    service: TestService,
    clock: Arc<ManualClock>,
}

impl Web {
    /// A service that a server asks for its visitors.
    async fn start(limits: &str) -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
        let hash = TokenHash::of("secret").to_hex();
        let more = format!(
            "[limits]\n{limits}\n[[clients]]\nid = \"web\"\nsecret_hash = \"{hash}\"\naddress_key = \"{KEY}\"\n"
        );
        let options = Options { more, clock: Some(clock.clone()), ..Options::default() };
        Self { service: TestService::start_with(Store::Sqlite, options).await, clock }
    }

    /// What the server sends for a visitor.
    fn signed(&self, address: &str) -> String {
        let expires = self.clock.now().unix_timestamp() + 30;
        let claims = json!({
            "iss": "web", "aud": "http://localhost:8080", "address": address, "exp": expires,
        });
        hs256(KEY, &json!({"alg": "HS256"}), &claims)
    }

    async fn ask_for(&self, address: &str, request: RequestBuilder) -> Response {
        request.header(HEADER, self.signed(address)).send().await.unwrap()
    }

    fn login(&self) -> RequestBuilder {
        self.service.login_request(&json!({"provider": "corp"}))
    }
}

async fn expect(answer: Response, (status, code): (StatusCode, &str)) -> serde_json::Value {
    assert_error(answer, status, code).await
}

#[tokio::test]
async fn visitors_whom_one_server_asks_for_are_callers_of_their_own() {
    let web = Web::start("logins_per_minute = 1\nrefused_sign_ins_per_minute = 1").await;
    for visitor in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        assert_eq!(web.ask_for(visitor, web.login()).await.status(), StatusCode::OK);
        expect(web.ask_for(visitor, web.login()).await, LIMITED).await;
        let guess = || web.service.post(&bare("a guess"));
        let refused = (StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE");
        expect(web.ask_for(visitor, guess()).await, refused).await;
        expect(web.ask_for(visitor, guess()).await, LIMITED).await;
    }
    // Nobody's proxy: what it forwards counts no more than usual.
    let forwarded = web.login().header("x-forwarded-for", "198.51.100.7");
    expect(web.ask_for("192.0.2.1", forwarded).await, LIMITED).await;
}

#[tokio::test]
async fn a_session_its_log_line_and_its_audit_have_the_visitors_network() {
    log::keep();
    let web = Web::start("").await;
    let code = web.service.code();
    let answer = web.ask_for("198.51.100.7", web.service.post(&bare(&code))).await;
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(log::line(&id)["client"], "web");
    let tokens = Tokens::of(answer).await;
    let url = web.service.url("/api/v1/auth/sessions");
    let listed = web.service.client.get(url).bearer_auth(&tokens.access).send().await.unwrap();
    let listed: serde_json::Value = listed.json().await.unwrap();
    assert_eq!(listed["sessions"][0]["ip"], "198.51.100.0/24");
}

#[tokio::test]
async fn a_header_that_is_not_good_is_refused_by_its_name_and_counts_for_nobody() {
    let limits = "logins_per_minute = 1\nsign_ins_per_minute = 1";
    let web = Web::start(limits).await;
    let code = web.service.code();
    let stale = web.signed("192.0.2.1");
    web.clock.advance(Duration::from_secs(31));
    let forged = format!("{}A", &stale[..stale.len() - 1]);
    for bad in ["192.0.2.1", "", &stale, &forged] {
        let jwks = web.service.client.get(web.service.url("/.well-known/jwks.json"));
        for request in [web.service.post(&bare(&code)), web.login(), jwks] {
            let body = expect(request.header(HEADER, bad).send().await.unwrap(), INVALID).await;
            assert_eq!(body["details"][0]["field"], HEADER, "{bad}");
        }
    }
    assert_eq!(web.service.sessions().await, 0);
    assert_eq!(web.ask_for("192.0.2.1", web.login()).await.status(), StatusCode::OK);
    let signed_in = web.ask_for("192.0.2.1", web.service.post(&bare(&code))).await;
    assert_eq!(signed_in.status(), StatusCode::OK, "the code was not sent before");
}

#[tokio::test]
async fn without_a_key_in_the_configuration_no_header_is_good() {
    let web = Web::start("").await;
    let bare_service = TestService::start(Store::Sqlite).await;
    let url = bare_service.url("/api/v1/auth/providers");
    let request = bare_service.client.get(url).header(HEADER, web.signed("192.0.2.1"));
    expect(request.send().await.unwrap(), INVALID).await;
}
