//! A public URL with a path: behind proxies that keep it, and behind those that remove it.

use crate::common::session::cookies;
use crate::common::{Options, Store, TestService, assert_error, bare};
use reqwest::StatusCode;
use serde_json::Value;

async fn start() -> TestService {
    let options = Options { real_address: true, path: "/auth", ..Options::default() };
    TestService::start_with(Store::Sqlite, options).await
}

#[tokio::test]
async fn sessions_live_below_the_path_whether_or_not_a_proxy_removes_it() {
    let service = start().await;
    for prefix in ["/auth", ""] {
        let url = |path: &str| service.url(&format!("{prefix}/api/v1/auth/{path}"));
        let request = service.client.post(url("token")).json(&bare(&service.code()));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let set = cookies(&answer);
        let pair = |name: &str| {
            let cookie = set.iter().find(|cookie| cookie.starts_with(name)).unwrap();
            let (pair, attributes) = cookie.split_once("; ").unwrap();
            (pair.to_owned(), attributes.to_owned())
        };
        // Other apps of the host are served by the access cookie, and never see the refresh cookie.
        let (access, attributes) = pair("Auth-Access-Token=");
        assert!(attributes.starts_with("Path=/; "), "{attributes}");
        let (refresh, attributes) = pair("Auth-Refresh-Token=");
        assert!(attributes.starts_with("Path=/auth/api/v1/auth/refresh; "), "{attributes}");
        let answer = service.client.post(url("refresh")).header("cookie", refresh).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
        let answer = service.client.get(url("me?a=b")).header("cookie", access).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    // Both are one series.
    let metrics = service.metrics().await;
    let tokens = metrics.lines().find(|line| {
        line.starts_with("mintgate_http_requests_total{") && line.contains("/api/v1/auth/token")
    });
    assert!(tokens.is_some_and(|line| line.ends_with(" 2")), "{tokens:?}");
}

#[tokio::test]
async fn a_verifier_finds_the_keys_from_an_issuer_with_a_path() {
    let service = start().await;
    let issuer = service.url("/auth");
    for path in [
        "/auth/.well-known/openid-configuration",
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/auth",
        "/.well-known/oauth-authorization-server/auth",
    ] {
        let answer = service.client.get(service.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let metadata: Value = answer.json().await.unwrap();
        assert_eq!(metadata["issuer"], *issuer);
        assert_eq!(metadata["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
        let keys = service.client.get(metadata["jwks_uri"].as_str().unwrap()).send().await;
        assert_eq!(keys.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn another_path_is_404() {
    let service = start().await;
    for path in [
        "/auth",
        "/auth?a",
        "/authx/.well-known/jwks.json",
        "/auth/auth/.well-known/jwks.json",
        "/Auth/.well-known/jwks.json",
        "//auth/.well-known/jwks.json",
    ] {
        let answer = service.client.get(service.url(path)).send().await.unwrap();
        assert_error(answer, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    }
}
