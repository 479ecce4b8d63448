//! Which requests pass, the same in each framework.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../verify/fake_issuer.rs"]
mod fake_issuer;
mod frameworks;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../verify/signer.rs"]
mod signer;

use std::time::Duration;

use mintgate_verify::{Guard, Verifier};
use serde_json::{Value, json};

use fake_issuer::{Answer, FakeIssuer};
use frameworks::{FRAMEWORKS, Reply};
use signer::Signer;

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://api.example.com";
const NOW: u64 = 1_790_000_000;
const HOST: &str = "api.example.com";

fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3600,
        "roles": ["user"],
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

/// A guard whose verifier has the keys that the issuer publishes.
fn guard_of(issuer: &FakeIssuer) -> Guard {
    let now = std::time::UNIX_EPOCH + Duration::from_secs(NOW);
    let verifier = Verifier::builder(ISSUER).audience(AUDIENCE).fetch(issuer.clone());
    Guard::new(verifier.clock(move || now).build().unwrap())
}

fn rig() -> (Signer, Guard) {
    let signer = Signer::es256("1");
    let guard = guard_of(&FakeIssuer::with(&[&signer]));
    (signer, guard.allow_origin("https://app.example.com"))
}

/// Sends a request to each framework; all replies must be equal.
async fn send(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Reply {
    let mut headers = headers.to_vec();
    headers.push(("host", HOST));
    let mut replies = Vec::new();
    for framework in FRAMEWORKS {
        replies.push(framework.send(guard, method, &headers).await);
    }
    for reply in &replies[1..] {
        assert_eq!(*reply, replies[0]);
    }
    replies.swap_remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_good_token_passes_as_bearer_or_cookie() {
    let (signer, guard) = rig();
    let token = signer.token(&claims(&json!({})));
    let bearer = format!("Bearer {token}");
    let cookie = format!("a=b; Auth-Access-Token={token}; c");
    for header in [("authorization", &*bearer), ("cookie", &cookie)] {
        let reply = send(&guard, "GET", &[header]).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "alice"));
    }
    let lower = format!("bearer  {token}");
    assert_eq!(send(&guard, "POST", &[("authorization", &lower)]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_cookie_has_the_configured_name_or_none() {
    let (signer, guard) = rig();
    let token = signer.token(&claims(&json!({})));
    let default = format!("Auth-Access-Token={token}");
    let prefixed = format!("__Host-Auth-Access-Token={token}");
    let renamed = guard.clone().cookie("__Host-Auth-Access-Token");
    assert_eq!(send(&renamed, "GET", &[("cookie", &prefixed)]).await.status, 200);
    assert_eq!(send(&renamed, "GET", &[("cookie", &default)]).await.status, 401);
    assert_eq!(send(&guard.bearer_only(), "GET", &[("cookie", &default)]).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn a_bearer_token_comes_before_the_cookie_and_is_not_replaced_by_it() {
    let (signer, guard) = rig();
    let good = signer.token(&claims(&json!({})));
    let old = signer.token(&claims(&json!({ "exp": NOW - 100 })));
    let cookie = format!("Auth-Access-Token={good}");
    let bearer = format!("Bearer {old}");
    let reply = send(&guard, "GET", &[("authorization", &bearer), ("cookie", &cookie)]).await;
    assert_eq!(reply.status, 401);
    let doubled = format!("Auth-Access-Token={old}; Auth-Access-Token={old}");
    let bearer = format!("Bearer {good}");
    let evil = ("origin", "https://evil.example");
    let headers = [("authorization", bearer.as_str()), ("cookie", &doubled), evil];
    assert_eq!(send(&guard, "POST", &headers).await.status, 200);
    let basic = [("authorization", "Basic YTpi"), ("cookie", &cookie)];
    assert_eq!(send(&guard, "GET", &basic).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_good_token_gets_a_challenge() {
    let (signer, guard) = rig();
    let none = send(&guard, "GET", &[]).await;
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(none.error_code(), "INVALID_ACCESS_TOKEN");
    assert_eq!(none.header("cache-control"), Some("no-store"));
    let refresh = signer.token_with(&json!({ "typ": "rt+jwt" }), &claims(&json!({})));
    let old = signer.token(&claims(&json!({ "exp": NOW - 100 })));
    let foreign = Signer::es256("1").token(&claims(&json!({})));
    for token in [&refresh, &old, &foreign, "garbage"] {
        let reply = send(&guard, "GET", &[("authorization", &format!("Bearer {token}"))]).await;
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        assert_eq!(reply.status, 401, "{}", reply.body);
        assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""));
        assert_eq!(challenge.matches('"').count(), 4, "{challenge}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_without_the_role_gets_403() {
    let (signer, guard) = rig();
    for (roles, status) in [(json!(["user"]), 403), (json!(["user", "admin"]), 200)] {
        let token = signer.token(&claims(&json!({ "roles": roles })));
        let headers = [("authorization", &*format!("Bearer {token}")), ("host", HOST)];
        for framework in FRAMEWORKS {
            let reply = framework.send_to_admin(&guard, &headers).await;
            assert_eq!(reply.status, status, "{}", reply.body);
            if status == 403 {
                assert_eq!(reply.error_code(), "ACCESS_DENIED");
                let challenge = reply.header("www-authenticate");
                assert_eq!(challenge, Some("Bearer error=\"insufficient_scope\""));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_there_are_no_keys_the_response_is_503_with_retry_after() {
    let signer = Signer::es256("1");
    let guard = guard_of(&FakeIssuer::answering(Answer::Fails));
    let bearer = format!("Bearer {}", signer.token(&claims(&json!({}))));
    let reply = send(&guard, "GET", &[("authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (503, "VERIFIER_NOT_READY"));
    assert!(reply.header("retry-after").is_some_and(|secs| secs.parse::<u32>().is_ok()));
    assert_eq!(reply.header("www-authenticate"), None);
}

#[tokio::test(start_paused = true)]
async fn a_doubled_cookie_or_header_is_refused() {
    let (signer, guard) = rig();
    let token = signer.token(&claims(&json!({})));
    let cookie = format!("Auth-Access-Token={token}");
    let two = format!("{cookie}; {cookie}");
    let reply = send(&guard, "GET", &[("cookie", &two)]).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (400, "DUPLICATE_COOKIE"));
    let reply =
        send(&guard, "GET", &[("cookie", &cookie), ("cookie", "Auth-Access-Token=x")]).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (400, "DUPLICATE_COOKIE"));
    let bearer = format!("Bearer {token}");
    let reply =
        send(&guard, "GET", &[("authorization", &bearer), ("authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (400, "INVALID_REQUEST"));
    let reply = send(&guard, "GET", &[("authorization", "Bearer"), ("cookie", &cookie)]).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_foreign_origin_changes_nothing_with_a_cookie() {
    let (signer, guard) = rig();
    let token = signer.token(&claims(&json!({})));
    let cookie = format!("Auth-Access-Token={token}");
    let with = async |method: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend(more);
        send(&guard, method, &headers).await
    };
    for foreign in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-site")],
        &[("origin", "https://app.example.com.evil.example")],
        &[("origin", "http://app.example.com")],
        &[("origin", "http://api.example.com")],
        &[("origin", "https://api.example.com:8443")],
        &[("origin", "https://APP.example.com")],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", "https://app.example.com"), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "cross-site")],
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "FOO"] {
            let reply = with(method, foreign).await;
            assert_eq!(reply.status, 403, "{method} {foreign:?}");
            assert_eq!(reply.error_code(), "CSRF_REJECTED");
        }
        assert_eq!(with("GET", foreign).await.status, 200, "{foreign:?}");
    }
    let websocket = [("origin", "https://evil.example"), ("upgrade", "websocket")];
    assert_eq!(with("GET", &websocket).await.status, 403);
    for own in [
        &[][..],
        &[("origin", "https://api.example.com")],
        &[("origin", "https://app.example.com"), ("sec-fetch-site", "cross-site")],
        &[("origin", "null"), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ] {
        assert_eq!(with("POST", own).await.status, 200, "{own:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_this_host_needs_no_https() {
    let (signer, guard) = rig();
    let cookie = format!("Auth-Access-Token={}", signer.token(&claims(&json!({}))));
    for (host, origin, status) in [
        ("localhost:3000", "http://localhost:3000", 200),
        ("127.0.0.1:3000", "http://127.0.0.1:3000", 200),
        ("localhost:3000", "http://localhost:4000", 403),
        ("api.internal:3000", "http://api.internal:3000", 403),
    ] {
        let headers = [("host", host), ("origin", origin), ("cookie", &cookie)];
        for framework in FRAMEWORKS {
            let reply = framework.send(&guard, "POST", &headers).await;
            assert_eq!(reply.status, status, "{origin}");
        }
    }
}
