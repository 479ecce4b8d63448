//! Signing out at the provider too: where the browser is sent, and that the session ends in any case.

use crate::common::session::{LOGOUT, cookies, refresh_cookie};
use crate::common::{Options, REDIRECT_URI, Store, TestService, Tokens};
use crate::on_both_stores;
use mintgate_mock_idp::{FaultKind, Faults};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use url::Url;

const BYE: &str = r#"post_logout_redirect_uris = ["http://localhost:3000/callback"]"#;

fn with_bye() -> Options {
    Options { provider: BYE, ..Options::default() }
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
