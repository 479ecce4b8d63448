//! The console on the operations listener, and the overview that it shows.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::options;
use crate::common::{Store, TestService, assert_error};
use crate::on_both_stores;

/// The page and its files.
const FILES: [&str; 7] = [
    "/",
    "/console/console.css",
    "/console/icon.svg",
    "/console/console.js",
    "/console/elements.js",
    "/console/overview.js",
    "/console/people.js",
];

impl TestService {
    async fn overview(&self) -> Value {
        let request = self.client.get(self.ops_url("/admin/v1/overview")).bearer_auth("reader");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        answer.json().await.unwrap()
    }
}

on_both_stores! {
    async fn the_overview_tells_how_the_process_is_to_whoever_has_a_token(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let idle = service.overview().await;
        assert_eq!(idle["minutes"].as_array().unwrap().len(), 1);
        assert_eq!((&idle["minutes"][0]["signIns"], &idle["minutes"][0]["refreshes"]), (&json!({}), &json!({})));
        assert_eq!(idle["refusals"], json!([]));
        let tokens = service.signed_in().await;
        service.refresh(&tokens.refresh).send().await.unwrap();
        service.post(&json!({"authCode": "garbage", "provider": "corp", "redirectUri": crate::common::REDIRECT_URI}))
            .header("user-agent", "\"><script>alert(2)</script>").header("x-request-id", "chosen-by-a-stranger")
            .send().await.unwrap();
        let seen = service.overview().await;
        assert_eq!(seen["token"], json!({"name": "dashboard", "kind": "token", "scope": "read"}));
        assert_eq!(seen["notReady"], Value::Null);
        let corp = json!({"id": "corp", "circuit": "closed", "signedIn": 1, "notSignedIn": 1});
        assert_eq!(seen["providers"], json!([corp]));
        let minute = &seen["minutes"][0];
        assert_eq!(minute["signIns"], json!({"success": 1, "invalid_auth_code": 1}));
        assert_eq!(minute["refreshes"], json!({"rotated": 1}));
        let keys = seen["keys"].as_array().unwrap();
        let states: Vec<_> = keys.iter().map(|key| (key["use"].as_str(), key["state"].as_str())).collect();
        assert!(states.contains(&(Some("access"), Some("current"))), "{states:?}");
        assert!(states.contains(&(Some("refresh"), Some("current"))), "{states:?}");
        assert_eq!(seen["configuration"]["file"], "none");
        assert_eq!(seen["refusalCounts"], json!({"INVALID_AUTH_CODE": 1}));
        let refusal = &seen["refusals"][0];
        assert_eq!((&refusal["errorCode"], &refusal["status"]), (&json!("INVALID_AUTH_CODE"), &json!(401)));
        assert_eq!((&refusal["provider"], &refusal["route"]), (&json!("corp"), &json!("/api/v1/auth/token")));
        assert_eq!(refusal["userAgent"], "\"><script>alert(2)</script>");
        assert_eq!((&refusal["requestId"], &refusal["network"]), (&json!("chosen-by-a-stranger"), &json!("127.0.0.0/24")));
        assert!(refusal["reason"].is_string(), "{refusal}");
    }
}

#[tokio::test]
async fn without_a_token_or_by_another_name_there_is_no_overview() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let overview = service.ops_url("/admin/v1/overview");
    let answer = service.client.get(&overview).send().await.unwrap();
    assert_error(answer, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    let request = service.client.get(&overview).bearer_auth("reader");
    let answer = request.header("host", "evil.example:9464").send().await.unwrap();
    assert_error(answer, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
}

#[tokio::test]
async fn the_page_allows_nothing_but_its_own_files_and_holds_no_data() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    service.signed_in().await;
    for file in FILES {
        let answer = service.client.get(service.ops_url(file)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{file}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split("; ").any(|it| it == directive), "{directive}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        let text = answer.text().await.unwrap();
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for absent in [
            "http:",
            "https:",
            "corp",
            "alice",
            "innerHTML",
            "outerHTML",
            "eval(",
            "insertAdjacentHTML",
            "localStorage",
            "sessionStorage",
            "document.cookie",
            "indexedDB",
            " style=\"",
            " onclick=\"",
            "<script>",
        ] {
            assert!(!text.contains(absent), "{file}: {absent}");
        }
    }
    let public = service.client.get(service.url("/console/console.js")).send().await.unwrap();
    assert_eq!(public.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_page_answers_only_to_names_that_nobody_else_can_make_lead_here() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let get = |file: &str, host: &str| {
        service.client.get(service.ops_url(file)).header("host", host).send()
    };
    for host in ["evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example"] {
        for file in FILES {
            let answer = get(file, host).await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{host} {file}");
            assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
            assert!(answer.text().await.unwrap().contains("admin.hosts"));
        }
    }
    for host in ["127.0.0.1:9464", "localhost:9464", "[::1]:9464", "ops.example.internal"] {
        assert_eq!(get("/", host).await.unwrap().status(), StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn without_tokens_there_is_no_console() {
    let service = TestService::start(Store::Sqlite).await;
    let answer = service.client.get(service.ops_url("/")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}
