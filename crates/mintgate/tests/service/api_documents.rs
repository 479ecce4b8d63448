//! The OpenAPI documents and the page, as they are answered.

use reqwest::StatusCode;
use serde_json::Value;

use crate::common::{Options, Store, TestService};

#[tokio::test]
async fn the_document_has_the_addresses_of_this_service_and_can_be_cached() {
    let options = Options { real_address: true, path: "/auth", ..Options::default() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    for path in ["/api/openapi.json", "/auth/api/openapi.json"] {
        let answer = service.client.get(service.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
        let etag = answer.headers()["etag"].clone();
        let document: Value = answer.json().await.unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["servers"][0]["url"], service.url("/auth"));
        let cookie = &document["components"]["securitySchemes"]["refreshCookie"]["name"];
        assert_eq!(cookie, "Auth-Refresh-Token");
        let again = service.client.get(service.url(path)).header("if-none-match", etag);
        assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn the_page_may_load_nothing_and_is_there_for_whoever_wants_html() {
    let service = TestService::start(Store::Sqlite).await;
    for accept in ["text/html", "*/*", "text/html,application/xhtml+xml,*/*;q=0.8"] {
        let request = service.client.get(service.url("/api/docs")).header("accept", accept);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{accept}");
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(answer.text().await.unwrap().contains("/api/v1/auth/token"));
    }
    let request = service.client.get(service.url("/api/docs")).header("accept", "image/png");
    service.refused(request, StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE").await;
}
