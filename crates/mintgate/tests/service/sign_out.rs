//! Signing out at the provider too: where the browser is sent, and that the session ends in any case.

use crate::common::session::{LOGOUT, cookies, refresh_cookie};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Options, REDIRECT_URI, Store, TestService, Tokens, sign_in};
use crate::on_both_stores;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate::system::SystemClock;
use mintgate_domain::ports::Clock as _;
use mintgate_mock_idp::{FaultKind, Faults, SignIn};
use mintgate_testkit::ManualClock;
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

const BYE: &str = r#"post_logout_redirect_uris = ["http://localhost:3000/callback"]"#;

fn with_bye() -> Options {
    Options { provider: BYE, ..Options::default() }
}

/// With the ID token kept.
fn with_hint(provider: &'static str) -> Options {
    let keys = "encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"".to_owned();
    Options { provider, keys, ..Options::default() }
}

/// The query of a URL, by name.
fn query(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

impl TestService {
    fn sign_out(&self, tokens: &Tokens, mut body: Value) -> RequestBuilder {
        body["provider"] = json!(true);
        self.log_out(&tokens.access).json(&body)
    }
}

/// The `logoutUrl` of an answer that ended the session.
async fn logout_url(request: RequestBuilder) -> Option<Url> {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(cookies(&answer).len(), 2, "both are cleared");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["message"], "Logged out.");
    body["logoutUrl"].as_str().map(|url| Url::parse(url).unwrap())
}

on_both_stores! {
    async fn a_browser_signs_out_at_the_provider_and_comes_back(store: Store) {
        let service = TestService::start_with(store, with_bye()).await;
        let tokens = service.signed_in().await;
        let body = json!({ "postLogoutRedirectUri": REDIRECT_URI, "state": "a b&c" });
        let url = logout_url(service.sign_out(&tokens, body)).await.unwrap();
        let query: Vec<_> = url.query_pairs().into_owned().collect();
        let expected = [
            ("client_id", "mintgate"),
            ("post_logout_redirect_uri", REDIRECT_URI),
            ("state", "a b&c"),
        ];
        assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(service.row(&tokens.sid()).await.contains("logout"));
        let back = service.client.get(url).send().await.unwrap();
        assert_eq!(back.status(), StatusCode::SEE_OTHER);
        let back = Url::parse(back.headers()["location"].to_str().unwrap()).unwrap();
        assert!(back.as_str().starts_with(REDIRECT_URI));
        assert_eq!(back.query_pairs().collect::<Vec<_>>(), [("state".into(), "a b&c".into())]);

        // The same with nothing but the refresh cookie, below its path; and a second time.
        let tokens = service.signed_in().await;
        for _ in 0..2 {
            let below = service.client.post(service.url("/api/v1/auth/refresh/logout"));
            let request = below.header("cookie", refresh_cookie(&tokens.refresh));
            let url = logout_url(request.json(&json!({ "provider": true }))).await.unwrap();
            assert_eq!(url.query(), Some("client_id=mintgate"));
            assert_eq!(service.client.get(url).send().await.unwrap().status(), StatusCode::OK);
        }
    }

    async fn an_address_that_is_not_listed_ends_nothing(store: Store) {
        let service = TestService::start_with(store, with_bye()).await;
        let tokens = service.signed_in().await;
        for uri in ["http://localhost:3000/callback/", "https://evil.test", "http://LOCALHOST:3000/callback"] {
            let request = service.sign_out(&tokens, json!({ "postLogoutRedirectUri": uri }));
            service.refused(request, StatusCode::BAD_REQUEST, "REDIRECT_URI_NOT_ALLOWED").await;
        }
        let flag = service.log_out(&tokens.access).json(&json!({ "provider": "corp" }));
        let body = service.refused(flag, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_eq!(body["details"][0]["field"], "provider");
        assert_eq!(service.me(&tokens.access).send().await.unwrap().status(), StatusCode::OK);
    }

    async fn a_session_that_is_gone_is_signed_out_all_the_same(store: Store) {
        let service = TestService::start_with(store, with_bye()).await;
        let tokens = service.signed_in().await;
        service.sql("DELETE FROM sessions", "DELETE FROM sessions").await;
        let body = json!({ "postLogoutRedirectUri": REDIRECT_URI });
        assert_eq!(logout_url(service.sign_out(&tokens, body)).await, None);
        let body = json!({ "postLogoutRedirectUri": "https://evil.test" });
        let request = service.sign_out(&tokens, body);
        service.refused(request, StatusCode::BAD_REQUEST, "REDIRECT_URI_NOT_ALLOWED").await;
    }

    async fn the_provider_is_shown_the_id_token_that_is_kept_sealed_until_then(store: Store) {
        let service = TestService::start_with(store, with_hint("keep_id_token = true")).await;
        let tokens = service.signed_in().await;
        let dump = service.dump().await;
        let [row] = dump.rows("upstream_tokens") else { panic!("one row") };
        assert!(row.contains("eyJ"), "a JWE: {row}");
        let url = logout_url(service.sign_out(&tokens, json!({}))).await.unwrap();
        let hint = query(&url).remove("id_token_hint").unwrap();
        assert!(!row.contains(hint.rsplit_once('.').unwrap().0), "sealed");
        assert_eq!(service.client.get(url.clone()).send().await.unwrap().status(), StatusCode::OK);
        // The provider looks at it.
        let forged = url.as_str().replace("id_token_hint=ey", "id_token_hint=eX");
        let refused = service.client.get(forged).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);

        // Whoever finds it in a history of addresses signs nobody in with it.
        let body = json!({ "provider": "corp", "idToken": hint });
        service.refused(service.post(&body), StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
        let again = logout_url(service.sign_out(&tokens, json!({}))).await.unwrap();
        assert_eq!(again.query(), Some("client_id=mintgate"));
    }
}

#[tokio::test]
async fn the_hint_is_the_newest_id_token_of_a_recheck() {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let options = with_hint("keep_id_token = true\nrecheck_secs = 60");
    let options = Options { clock: Some(clock.clone()), ..options };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let scope = "openid offline_access".to_owned();
    let first = SignIn { scope, nonce: Some("of-the-login".to_owned()), ..sign_in("alice") };
    let code = service.idp().control().issue_code(first);
    let login = json!({
        "provider": "corp", "authCode": code, "redirectUri": REDIRECT_URI, "nonce": "of-the-login",
    });
    let tokens = Tokens::of(service.post(&login).send().await.unwrap()).await;
    clock.advance(Duration::from_mins(1));
    let tokens = service.refreshed(&tokens.refresh).await;
    assert_eq!(service.idp().control().stats().refreshes, 1);
    let url = logout_url(service.sign_out(&tokens, json!({}))).await.unwrap();
    let hint = query(&url).remove("id_token_hint").unwrap();
    let claims = hint.split('.').nth(1).unwrap();
    let claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["nonce"], Value::Null, "that of the login has one");
    assert_eq!(service.client.get(url).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_prevents_no_logout() {
    // Sessions outlive the process that knew the provider.
    for fault in [FaultKind::Hang, FaultKind::Close] {
        let mut service = TestService::start_with(Store::Sqlite, with_bye()).await;
        let tokens = service.signed_in().await;
        service.restart();
        let faults = Faults { discovery: Some(fault.into()), ..Faults::default() };
        service.idp().control().set_faults(faults);
        let body = json!({ "postLogoutRedirectUri": REDIRECT_URI });
        assert_eq!(logout_url(service.sign_out(&tokens, body)).await, None);
        assert!(service.row(&tokens.sid()).await.contains("logout"));
    }
}

#[tokio::test]
async fn an_end_session_address_is_https_or_there_is_none() {
    for endpoint in ["http://idp.example.com/logout", "javascript:alert(1)", ""] {
        let service = TestService::start_with(Store::Sqlite, with_bye()).await;
        let members = json!({ "end_session_endpoint": endpoint }).as_object().unwrap().clone();
        let faults = Faults { discovery_merge: members, ..Faults::default() };
        service.idp().control().set_faults(faults);
        let tokens = service.signed_in().await;
        assert_eq!(logout_url(service.sign_out(&tokens, json!({}))).await, None, "{endpoint}");
    }
    let service = TestService::start(Store::Sqlite).await;
    let tokens = service.signed_in().await;
    let plain = service.client.post(service.url(LOGOUT)).bearer_auth(&tokens.access);
    assert_eq!(logout_url(plain.json(&json!({ "provider": false }))).await, None, "not asked for");
}
