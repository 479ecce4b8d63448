//! The listener itself: limits, methods, CORS, CSRF, cookies, panics; and the operations listener.

use crate::common::wire::{read_head, slow_body};
use crate::common::{Options, Store, TestService, assert_error, bare, header};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const TOKEN: &str = "/api/v1/auth/token";

async fn start_with(more: &str) -> TestService {
    TestService::start_with(Store::Sqlite, Options { more: more.to_owned(), ..Options::default() })
        .await
}

async fn start() -> TestService {
    start_with("[cors]\nallowed_origins = [\"https://app.example.com\"]").await
}

#[tokio::test]
async fn case_04_a_body_over_the_limit_is_413_with_a_length_or_chunked() {
    let service = start().await;
    let fits = format!("{:32768}", "{}");
    let request = |body: String| {
        service
            .client
            .post(service.url(TOKEN))
            .header("content-type", "application/json")
            .body(body)
    };
    service.refused(request(fits.clone()), StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    let over = request(fits + " ");
    service.refused(over, StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE").await;

    let mut stream = TcpStream::connect(service.public).await.unwrap();
    let head = format!(
        "POST {TOKEN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
    for _ in 0..9 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn case_04_compressed_bodies_and_other_types_are_415() {
    let service = start().await;
    let request = |headers: &[(&'static str, &'static str)]| {
        let mut request = service.client.post(service.url(TOKEN)).body(bare("code").to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    };
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/json; charset=latin1")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
        &[("content-type", "application/json"), ("content-type", "text/plain")],
    ] {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        service.refused(request(headers), status, "UNSUPPORTED_MEDIA_TYPE").await;
    }
    let accepted = request(&[("content-type", "Application/JSON; charset=UTF-8")]);
    service.refused(accepted, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
}

#[tokio::test]
async fn case_05_another_method_is_405_with_allow() {
    let service = start().await;
    for (path, allow) in [(TOKEN, "POST"), ("/.well-known/jwks.json", "GET, HEAD")] {
        for method in [Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            let answer = service.client.request(method, service.url(path)).send().await.unwrap();
            assert_eq!(answer.headers()["allow"], allow);
            assert_error(answer, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;
        }
    }
}

#[tokio::test]
async fn case_05_oversized_headers_are_431() {
    let service = start().await;
    for size in [17_000, 60_000] {
        let request = service.post(&bare("code")).header("x-padding", "x".repeat(size));
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        service.refused(request, status, "HEADERS_TOO_LARGE").await;
    }
}

#[tokio::test]
async fn case_05_hundreds_of_slow_bodies_are_408_each_and_harm_nobody() {
    let service = start_with("[limits]\nrequest_timeout_ms = 1500").await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        slow.push(slow_body(&service, TOKEN).await);
    }
    assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);
    for mut stream in slow {
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("content-type: application/json"), "{answer}");
    }
}

#[tokio::test]
async fn case_06_a_panic_is_500_in_the_error_shape_and_the_next_request_works() {
    let service = start().await;
    for _ in 0..3 {
        let answer = service.client.get(service.url("/test/panic")).send().await.unwrap();
        let body = assert_error(answer, StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR").await;
        assert!(!body.to_string().contains("a fault in a handler"), "{body}");
    }
    assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_path_is_404_and_an_accept_that_rules_json_out_is_406() {
    let service = start().await;
    let answer = service.client.get(service.url("/nothing/here")).send().await.unwrap();
    assert_error(answer, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    let request = service.post(&bare("code")).header("accept", "text/html");
    service.refused(request, StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE").await;
}

#[tokio::test]
async fn a_request_id_is_taken_over_if_it_is_well_formed_and_made_otherwise() {
    let service = start().await;
    let id_for = async |id: &str| {
        let request = service.client.get(service.url("/nothing")).header("x-request-id", id);
        let answer = request.send().await.unwrap();
        answer.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id_for("my-request_01").await, "my-request_01");
    for bad in ["short", "with space inside", &"x".repeat(65)] {
        let made = id_for(bad).await;
        assert_ne!(made, bad);
        assert_eq!(made.len(), 32);
    }
}

#[tokio::test]
async fn a_listed_origin_may_read_the_answer_and_send_cookies() {
    let service = start().await;
    let origin = "https://app.example.com";
    let answer =
        service.post(&bare(&service.code())).header("origin", origin).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-origin"], origin);
    assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    assert_eq!(answer.headers()["vary"], "Origin");

    let preflight = preflight(&service, origin).await;
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!(preflight.headers()["access-control-allow-origin"], origin);
    assert_eq!(preflight.headers()["access-control-allow-methods"], "GET, POST, DELETE");
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("Content-Type"));
}

#[tokio::test]
async fn case_48_an_unlisted_origin_gets_no_permission() {
    let service = start().await;
    for origin in [
        "https://evil.test",
        "null",
        "https://app.example.com.evil.test",
        "https://app.example.com:444",
    ] {
        let preflight = preflight(&service, origin).await;
        assert!(!preflight.headers().contains_key("access-control-allow-origin"));
        assert!(!preflight.headers().contains_key("access-control-allow-methods"));
        assert_eq!(preflight.headers()["vary"], "Origin");
    }
}

#[tokio::test]
async fn case_47_a_foreign_page_cannot_sign_its_visitor_in() {
    let service = start().await;
    for (name, value) in
        [("origin", "https://evil.test"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        let code = service.code();
        let request = service.post(&bare(&code)).header(name, value);
        service.refused(request, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
        assert_eq!(service.login(&code).await.status(), StatusCode::OK, "the code is not used up");
    }
}

#[tokio::test]
async fn case_48_a_cookie_given_twice_is_400_and_its_variants_are_cleared() {
    let service = start().await;
    let twice = "Auth-Access-Token=a; other=1; Auth-Access-Token=b";
    let request = service.post(&bare("code")).header("cookie", twice);
    service.refused(request, StatusCode::BAD_REQUEST, "DUPLICATE_COOKIE").await;
    let request = service.post(&bare("code")).header("cookie", twice);
    let answer = request.send().await.unwrap();
    let cleared: Vec<_> =
        answer.headers().get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
    assert_eq!(
        cleared[..2],
        [
            "Auth-Access-Token=; Path=/; Secure; Max-Age=0",
            "Auth-Access-Token=; Path=/; Secure; Max-Age=0; Partitioned",
        ]
    );
    for path in ["/api", "/api/v1/", "/api/v1/auth/token"] {
        let variant = format!("Auth-Access-Token=; Path={path}; Secure; Max-Age=0");
        assert!(cleared.contains(&variant.as_str()), "{cleared:?}");
    }
    assert!(cleared.iter().all(|cookie| cookie.starts_with("Auth-Access-Token=;")));
}

#[tokio::test]
async fn case_50_the_jwks_is_cacheable_and_has_public_keys_only() {
    // The key that signs and the one that will sign next.
    for (algorithm, keys) in
        [("ES256", 2), ("ES384", 2), ("EdDSA", 2), ("RS256", 2), ("PS256", 2), ("HS256", 0)]
    {
        let service = start_with(&format!("[tokens]\nalgorithm = \"{algorithm}\"")).await;
        let url = service.url("/.well-known/jwks.json");
        let answer = service.client.get(&url).send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let etag = answer.headers()["etag"].clone();
        let body: Value = answer.json().await.unwrap();
        let published = body["keys"].as_array().unwrap();
        assert_eq!(published.len(), keys, "{algorithm}");
        for key in published {
            for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
                assert!(key.get(private).is_none(), "{algorithm}: {private}");
            }
        }
        let again = service.client.get(&url).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.text().await.unwrap(), "");
        let kid = header(&service.signed_in().await.access)["kid"].clone();
        let signing = published.iter().filter(|key| key["kid"] == kid).count();
        assert_eq!(signing, keys / 2, "{algorithm}");
    }
}

#[tokio::test]
async fn the_operations_listener_tells_health_and_counts_and_the_public_one_does_not() {
    let service = start().await;
    for (path, status) in [("/health/live", "live"), ("/health/ready", "ready")] {
        let answer = service.client.get(service.ops_url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["status"], status);
        let public = service.client.get(service.url(path)).send().await.unwrap();
        assert_eq!(public.status(), StatusCode::NOT_FOUND);
    }
    service.login(&service.code()).await;
    service.login("wrong").await;
    let metrics = service.metrics().await;
    for line in [
        r#"mintgate_token_generation_total{outcome="success",provider="corp"} 1"#,
        r#"mintgate_token_generation_total{outcome="invalid_auth_code",provider="corp"} 1"#,
        r#"mintgate_token_generation_duration_seconds_count{phase="store",provider="corp"} 2"#,
        r#"mintgate_token_generation_duration_seconds_count{phase="sign",provider="corp"} 1"#,
        r#"mintgate_provider_requests_total{endpoint="token",outcome="success",provider="corp"} 1"#,
        r#"mintgate_provider_requests_total{endpoint="discovery",outcome="success",provider="corp"} 1"#,
        r#"mintgate_http_requests_total{method="POST",route="/api/v1/auth/token",status="200"} 1"#,
        r#"mintgate_http_requests_total{method="POST",route="/api/v1/auth/token",status="401"} 1"#,
        r#"mintgate_http_requests_total{method="GET",route="unmatched",status="404"} 2"#,
        r#"mintgate_store_query_duration_seconds_count{operation="open_session"} 1"#,
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in:\n{metrics}");
    }
    assert!(metrics.contains("process_resident_memory_bytes"));
}

async fn preflight(service: &TestService, origin: &'static str) -> reqwest::Response {
    service
        .client
        .request(Method::OPTIONS, service.url(TOKEN))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_post_of_http_1_0_without_a_length_has_an_empty_body() {
    let service = start().await;
    let answer_to = async |head: &str| {
        let mut stream = TcpStream::connect(service.public).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        read_head(&mut stream).await
    };
    for rest in ["1.0", "1.0\r\nhost: x", "1.1\r\nhost: x"] {
        let head = format!("POST /api/v1/auth/refresh HTTP/{rest}\r\n\r\n");
        let answer = answer_to(&head).await;
        assert!(answer.contains(" 401 "), "{answer}");
    }
    // A body without a length ends nowhere.
    let endless = "POST /api/v1/auth/refresh HTTP/1.0\r\nhost: x\r\n\r\n{}";
    for head in
        [endless, "POST /api/v1/auth/refresh HTTP/1.0\r\nhost: x\r\ncontent-length: x\r\n\r\n"]
    {
        let answer = answer_to(head).await;
        assert!(answer.contains(" 400 "), "{answer}");
    }
    let two = "POST /api/v1/auth/refresh HTTP/1.0\r\nhost: x\r\nContent-Length : 2\r\n\r\n";
    let answer = answer_to(two).await;
    assert!(answer.contains(" 400 "), "{answer}");
}
