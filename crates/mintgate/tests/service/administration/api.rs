//! The admin API on the operations listener.

use mintgate_testkit::http::RequestBuilder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::options;
use crate::common::{Store, TestService, assert_error};
use crate::on_both_stores;

impl TestService {
    fn admin(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let url = self.ops_url(&format!("/admin/v1{path}"));
        self.client.request(method, url).bearer_auth(token)
    }

    async fn administer(&self, method: Method, path: &str) -> Value {
        let answer = self.admin(method, path, "writer").send().await.unwrap();
        let status = answer.status();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

#[tokio::test]
async fn who_guesses_admin_tokens_has_to_wait_and_keeps_nobody_with_a_good_one_out() {
    let mut options = options();
    options.more.push_str("[limits]\nrefused_admin_tokens_per_minute = 2\n");
    let service = TestService::start_with(Store::Sqlite, options).await;
    let users = |token: &'static str| service.admin(Method::GET, "/users", token).send();
    for _ in 0..2 {
        let refused = users("a guess").await.unwrap();
        assert_error(refused, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    }
    let limited = users("a guess").await.unwrap();
    assert_eq!(limited.headers()["ratelimit-policy"], "\"refused_admin_tokens\";q=2;w=60");
    let wait: u64 = limited.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_error(limited, StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED").await;
    assert_eq!(users("reader").await.unwrap().status(), StatusCode::OK);
    // Nothing was guessed.
    let without = service.client.get(service.ops_url("/admin/v1/users")).send().await.unwrap();
    assert_error(without, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    let line = "mintgate_rate_limit_total{limit=\"refused_admin_tokens\",outcome=\"refused\"} 1";
    assert!(service.metrics().await.lines().any(|it| it == line));
}

#[tokio::test]
async fn who_guesses_admin_tokens_in_an_exempt_network_is_not_limited() {
    let mut options = options();
    let limits = "[limits]\nrefused_admin_tokens_per_minute = 1\nexempt = [\"127.0.0.0/8\"]\n";
    options.more.push_str(limits);
    let service = TestService::start_with(Store::Sqlite, options).await;
    for _ in 0..4 {
        let refused = service.admin(Method::GET, "/users", "a guess").send().await.unwrap();
        assert_error(refused, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    }
}

on_both_stores! {
    async fn the_admin_api_answers_what_the_commands_print(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let tokens = service.signed_in_as("alice").await;
        service.signed_in_as("bob").await;
        let id = service.user_id("alice").await;
        for (path, arguments) in [
            ("/users".to_owned(), &["users", "list"][..]),
            ("/users?search=ALICE".to_owned(), &["users", "find", "ALICE"]),
            ("/users?limit=1".to_owned(), &["users", "list", "--limit", "1"]),
            (format!("/users/{id}"), &["users", "show", &id]),
            (format!("/users/{id}/export"), &["users", "export", &id]),
            (format!("/users/{id}/sessions"), &["sessions", "list", &id]),
            (format!("/sessions/{}", tokens.sid()), &["sessions", "show", &tokens.sid()]),
        ] {
            let printed = service.operate(&[arguments, &["--json"]].concat()).await.json();
            // That the command has exported is an entry of the audit log.
            let without_log = |mut body: Value| {
                body.as_object_mut().unwrap().remove("auditLog");
                body
            };
            let answered = service.administer(Method::GET, &path).await;
            assert_eq!(without_log(answered), without_log(printed), "{path}");
            let reading = service.admin(Method::GET, &path, "reader").send().await.unwrap();
            assert_eq!(reading.status(), StatusCode::OK);
        }
        let escaped = service.administer(Method::GET, "/users?search=%25").await;
        assert_eq!(escaped, json!({ "users": [], "next": null }));
    }

    async fn the_admin_api_changes_what_the_commands_change(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let (first, second) = (service.signed_in().await, service.signed_in().await);
        let id = service.user_id("alice").await;
        let user = |path: &str| format!("/users/{id}{path}");
        let granted = service.administer(Method::PUT, &user("/roles/auditor")).await;
        assert_eq!(granted, json!({ "user": id, "changed": true }));
        assert_eq!(service.administer(Method::PUT, &user("/roles/auditor")).await["changed"], false);
        assert_eq!(service.administer(Method::DELETE, &user("/roles/auditor")).await["changed"], true);
        assert_eq!(service.administer(Method::DELETE, &user("/roles/bad%20role")).await["changed"], false);
        let ended = service.administer(Method::DELETE, &format!("/sessions/{}", first.sid())).await;
        assert_eq!(ended["sessionsEnded"], 1);
        service.refused(service.refresh(&first.refresh), StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        let ended = service.administer(Method::DELETE, &user("/sessions")).await;
        assert_eq!(ended["sessionsEnded"], 1);
        service.refused(service.refresh(&second.refresh), StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        let third = service.signed_in().await;
        let disabled = service.administer(Method::POST, &user("/disable")).await;
        assert_eq!((&disabled["changed"], &disabled["sessionsEnded"]), (&json!(true), &json!(1)));
        let login = service.login(&service.code()).await;
        assert_error(login, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
        service.refused(service.refresh(&third.refresh), StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
        assert_eq!(service.administer(Method::POST, &user("/enable")).await["changed"], true);
        service.signed_in().await;
        let deleted = service.administer(Method::DELETE, &user("")).await;
        assert_eq!((&deleted["changed"], &deleted["sessionsEnded"]), (&json!(true), &json!(1)));
        let gone = service.admin(Method::GET, &user(""), "reader").send().await.unwrap();
        assert_error(gone, StatusCode::NOT_FOUND, "NOT_FOUND").await;
        let metrics = service.metrics().await;
        for (reason, count) in [("admin", 2), ("user_disabled", 1), ("user_deleted", 1)] {
            let series = format!("mintgate_sessions_revoked_total{{reason=\"{reason}\"}} {count}");
            assert!(metrics.contains(&series), "{series}");
        }
    }

    async fn whoever_may_not_is_refused_in_the_one_shape_and_changes_nothing(store: Store) {
        let service = TestService::start_with(store, options()).await;
        service.signed_in().await;
        let id = service.user_id("alice").await;
        let (user, disable) = (format!("/users/{id}"), format!("/users/{id}/disable"));
        let unauthorized = (StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN");
        let client = &service.client;
        let url = |path: &str| service.ops_url(&format!("/admin/v1{path}"));
        service.refused(client.get(url("/users")), unauthorized.0, unauthorized.1).await;
        for token in ["", "wrong", "READER", "reader writer"] {
            let request = service.admin(Method::GET, "/users", token);
            service.refused(request, unauthorized.0, unauthorized.1).await;
        }
        let twice = service.admin(Method::GET, "/users", "reader").bearer_auth("reader");
        service.refused(twice, unauthorized.0, unauthorized.1).await;
        let basic = client.get(url("/users")).basic_auth("reader", Some("reader"));
        service.refused(basic, unauthorized.0, unauthorized.1).await;
        for (method, path) in [
            (Method::POST, disable.as_str()),
            (Method::DELETE, &user),
            (Method::PUT, &format!("{user}/roles/admin")),
            (Method::DELETE, &format!("{user}/sessions")),
        ] {
            let request = service.admin(method, path, "reader");
            service.refused(request, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
        }
        // A page that has its own name lead to this machine.
        for host in ["evil.example:9464", "localhost.evil.example", "127.0.0.1.evil.example"] {
            let request = service.admin(Method::POST, &disable, "writer").header("host", host);
            service.refused(request, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
        }
        for host in ["localhost:9464", "ops.example.internal", "[::1]:9464"] {
            let request = service.admin(Method::GET, "/users", "reader").header("host", host);
            assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "{host}");
        }
        let preflight = service.admin(Method::OPTIONS, "/users", "writer")
            .header("origin", "https://app.example.com").send().await.unwrap();
        assert!(!preflight.headers().contains_key("access-control-allow-origin"));
        assert_error(preflight, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;
        for (method, path, status, code) in [
            (Method::GET, "/nothing", StatusCode::NOT_FOUND, "NOT_FOUND"),
            (Method::GET, "/users/no-id", StatusCode::NOT_FOUND, "NOT_FOUND"),
            (Method::GET, "/sessions/no-id", StatusCode::NOT_FOUND, "NOT_FOUND"),
            (Method::PATCH, user.as_str(), StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
            (Method::GET, "/users?limit=many", StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
            (Method::GET, "/users?after=x", StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
            (Method::GET, "/users?search=a%00b", StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
            (Method::PUT, &format!("{user}/roles/bad%20role"), StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
        ] {
            service.refused(service.admin(method, path, "writer"), status, code).await;
        }
        let large = service.admin(Method::POST, &disable, "writer").body(vec![b'x'; 40_000]);
        service.refused(large, StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE").await;
        // Not on the public listener.
        let public = client.get(service.url("/admin/v1/users")).bearer_auth("writer");
        service.refused(public, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    }
}

#[tokio::test]
async fn without_tokens_there_is_no_admin_api() {
    let service = TestService::start(Store::Sqlite).await;
    let answer = service.admin(Method::GET, "/users", "writer").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_document_of_the_admin_api_is_shown_to_whoever_may_look() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let document = service.admin(Method::GET, "/openapi.json", "reader").send().await.unwrap();
    let document: Value = document.json().await.unwrap();
    assert!(document["paths"]["/admin/v1/users/{id}"]["delete"].is_object(), "{document}");
    let nobody = service.client.get(service.ops_url("/admin/v1/openapi.json"));
    service.refused(nobody, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
}
