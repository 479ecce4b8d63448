//! Gateways ask, before they pass a request on, whether its caller is signed in.

mod addresses;
mod caddy;
mod envoy;
mod nginx;
mod proxied;
mod traefik;
mod wire;

use reqwest::{Method, RequestBuilder, Response, StatusCode};

use crate::common::session::access_cookie;
use crate::common::{Options, Store, TestService, assert_error, claims};
use crate::on_both_stores;

const CHECK: &str = "/api/v1/auth/check";
const SHOP: &str = "/api/v1/auth/gateway/shop";

/// A service that trusts the gateway, and knows two by name.
fn options() -> Options {
    let more = "[pages]\nreturn_origins = [\"https://app.example.com\"]\n\
        [[gateways]]\nname = \"shop\"\n\
        [[gateways]]\nname = \"office\"\nrole = \"admin\"\nlogin = \"redirect\"\n\
        [[gateways]]\nname = \"app\"\nlogin = \"redirect\"\n\
        [[gateways]]\nname = \"admin\"\nrole = \"admin\"\nlogin = \"redirect\"\n\
        [[gateways]]\nname = \"vault\"\nrole = [\"admin\", \"auditor\"]\n";
    let server = "trusted_proxies = [\"127.0.0.0/8\"]";
    Options { more: more.to_owned(), server, ..Options::default() }
}

impl TestService {
    /// A question of a gateway. The documents have GET alone, so the answer is not held to them.
    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        client.build().unwrap().request(method, self.url(path))
    }

    async fn asked_as(&self, access: &str, path: &str) -> Response {
        let request = self.client.get(self.url(path)).header("cookie", access_cookie(access));
        request.send().await.unwrap()
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

/// What every answer has, and has not.
fn assert_uncached(answer: &Response) {
    let vary = answer.headers().get_all("vary").iter().map(|value| value.to_str().unwrap());
    let vary = vary.collect::<Vec<_>>().join(", ");
    assert!(vary.contains("Cookie, Authorization"), "{vary}");
    assert_eq!(header(answer, "cache-control"), Some("no-store"));
    assert_eq!(header(answer, "set-cookie"), None);
}

on_both_stores! {
    async fn whoever_is_signed_in_passes_whatever_is_asked_for(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let access = service.signed_in().await.access;
        let claims = claims(&access);
        let methods =
            ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
        for method in methods {
            for path in [CHECK, SHOP, "/api/v1/auth/gateway/shop/orders//7/../%2e%0a%ff?role=none"] {
                let request = service.ask(Method::from_bytes(method.as_bytes()).unwrap(), path);
                let answer = request
                    .header("cookie", format!("theme=dark; {}", access_cookie(&access)))
                    .header("accept", "image/png")
                    .header("content-type", "text/plain")
                    .header("origin", "https://evil.example")
                    .header("sec-fetch-site", "cross-site")
                    .header("access-control-request-method", "DELETE")
                    .header("x-auth-client-address", "garbage")
                    .send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{method} {path}");
                assert_uncached(&answer);
                assert_eq!(header(&answer, "x-auth-user"), claims["sub"].as_str());
                assert_eq!(header(&answer, "x-auth-session"), claims["sid"].as_str());
                assert_eq!(header(&answer, "x-auth-roles"), Some("admin,staff,user"), "{method} {path}");
            }
        }
        let by_bearer = service.client.get(service.url(CHECK)).bearer_auth(&access);
        assert_eq!(by_bearer.send().await.unwrap().status(), StatusCode::OK);
        // Another scheme may be for the app.
        let request = service.client.get(service.url(CHECK)).basic_auth("a", Some("b"));
        let answer = request.header("cookie", access_cookie(&access)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        // Has the default role alone.
        let carol = service.signed_in_as("carol").await.access;
        let answer = service.asked_as(&carol, CHECK).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "x-auth-roles"), Some("user"));
    }

    async fn an_ended_session_and_a_disabled_user_stop_passing_at_once(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let [one, other] = [service.signed_in().await.access, service.signed_in().await.access];
        service.log_out(&one).send().await.unwrap();
        let refused = service.asked_as(&one, CHECK).await;
        assert_uncached(&refused);
        assert_error(refused, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        assert_eq!(service.asked_as(&other, CHECK).await.status(), StatusCode::OK);
        let user = claims(&other)["sub"].as_str().unwrap().to_owned();
        service.operate(&["users", "disable", &user]).await.done();
        let refused = service.asked_as(&other, SHOP).await;
        assert!(matches!(refused.status().as_u16(), 401 | 403), "{refused:?}");
    }

    async fn a_store_that_cannot_say_is_503_and_signs_nobody_out(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let access = service.signed_in().await.access;
        let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
        let sql = rename("sessions", "sessions_elsewhere");
        service.sql(&sql, &sql).await;
        for path in [CHECK, "/api/v1/auth/check?login=redirect&role=admin", SHOP] {
            let request = service.client.get(service.url(path)).header("accept", "text/html");
            let answer = request.header("cookie", access_cookie(&access)).send().await.unwrap();
            assert_uncached(&answer);
            assert!(header(&answer, "retry-after").is_some());
            assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
        }
        let sql = rename("sessions_elsewhere", "sessions");
        service.sql(&sql, &sql).await;
        assert_eq!(service.asked_as(&access, CHECK).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn whoever_lacks_a_role_is_refused_and_every_role_is_demanded() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let [alice, bob] = ["alice", "bob"].map(|name| service.signed_in_as(name));
    let (alice, bob) = (alice.await.access, bob.await.access);
    for (path, of_alice, of_bob) in [
        ("?role=staff", 200, 200),
        ("?role=admin", 200, 403),
        ("?role=admin&role=staff", 200, 403),
        ("?role=staff&role=admin", 200, 403),
        ("?role=admin&role=auditor", 403, 403),
        ("?role=", 403, 403),
        ("?role=admin,staff", 403, 403),
        ("?role=ADMIN", 403, 403),
        ("?role=admin&login=redirect", 200, 403),
    ] {
        for (access, expected) in [(&alice, of_alice), (&bob, of_bob)] {
            let answer = service.asked_as(access, &format!("{CHECK}{path}")).await;
            assert_eq!(answer.status().as_u16(), expected, "{path}");
            assert_uncached(&answer);
            assert_eq!(header(&answer, "x-auth-user").is_some(), expected == 200);
        }
    }
    for (name, of_alice, of_bob) in [("office", 200, 403), ("vault", 403, 403), ("shop", 200, 200)]
    {
        for (access, expected) in [(&alice, of_alice), (&bob, of_bob)] {
            // The demands are those of the configuration, whatever the query says.
            let path = format!("/api/v1/auth/gateway/{name}/a?role=auditor");
            assert_eq!(service.asked_as(access, &path).await.status().as_u16(), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn whoever_shows_no_good_token_is_401_and_loses_no_cookie() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let tokens = service.signed_in().await;
    let cookie = access_cookie(&tokens.access);
    let doubled = format!("{cookie}; theme=dark; {cookie}");
    let planted = format!("{cookie}; Auth-Access-Token=x");
    let refresh = access_cookie(&tokens.refresh);
    let large = format!("{cookie}; app={}", "x".repeat(17_000));
    for (path, sent) in [
        (CHECK, ""),
        (CHECK, "theme=dark"),
        (CHECK, &doubled),
        (CHECK, &planted),
        (CHECK, "Auth-Access-Token="),
        (CHECK, "Auth-Access-Token=garbage"),
        (CHECK, &refresh),
        (CHECK, &large),
        ("/api/v1/auth/check/", &cookie),
        ("/api/v1/auth/check/orders", &cookie),
        ("/api/v1/auth/gateway", &cookie),
        ("/api/v1/auth/gateway/", &cookie),
        ("/api/v1/auth/gateway/other/orders", &cookie),
        ("/api/v1/auth/gateway/SHOP/orders", &cookie),
        ("/api/v1/auth/gateway//shop/orders", &cookie),
        ("/api/v1/auth/gateway/sh%6fp/orders", &cookie),
        ("/api/v1/auth/gateway/shop", &large),
    ] {
        let answer = service.ask(Method::PATCH, path).header("cookie", sent).send().await.unwrap();
        assert_uncached(&answer);
        assert!(header(&answer, "www-authenticate").is_some(), "{path} {answer:?}");
        assert_error(answer, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    }
    for values in [&["Bearer a", "Bearer b"][..], &["Bearer"], &["Bearer a b"], &["Bearer x"]] {
        let mut request = service.ask(Method::GET, CHECK).header("cookie", &cookie);
        for value in values {
            request = request.header("authorization", *value);
        }
        assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{values:?}");
    }
}

#[tokio::test]
async fn a_gateway_is_never_made_to_wait_for_what_its_callers_do() {
    let mut options = options();
    options.more.push_str("[limits]\nrefused_refreshes_per_minute = 1\nsign_ins_per_minute = 1\n");
    let service = TestService::start_with(Store::Sqlite, options).await;
    let access = service.signed_in().await.access;
    for _ in 0..100 {
        let refused = service.asked_as("garbage", CHECK).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(service.asked_as(&access, CHECK).await.status(), StatusCode::OK);
    // Whatever the names are that strangers ask for, the series are the same.
    for path in ["/api/v1/auth/gateway/a/1", "/api/v1/auth/gateway/b/2", "/api/v1/auth/check/c"] {
        service.asked_as(&access, path).await;
    }
    let metrics = service.metrics().await;
    let of_gateways = metrics.lines().filter(|line| {
        line.starts_with("mintgate_http_requests_total")
            && line.contains("route=\"/api/v1/auth/gateway\"")
    });
    assert_eq!(of_gateways.count(), 1, "{metrics}");
}
