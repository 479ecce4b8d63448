//! Connections: how many there may be, and what becomes of those that do not do as HTTP says.

use std::time::Duration;

use crate::common::wire::{read_answer, read_head, read_to_end, send, slow_body};
use crate::common::{Options, Store, TestService};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

const TOKEN: &str = "/api/v1/auth/token";
const JWKS: &[u8] = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n";
/// The fewest that can be configured.
const MAX_CONNECTIONS: usize = 16;

async fn start_with(limits: &str) -> TestService {
    let more = format!("[limits]\n{limits}");
    TestService::start_with(Store::Sqlite, Options { more, ..Options::default() }).await
}

async fn get_jwks(stream: &mut TcpStream) {
    stream.write_all(JWKS).await.unwrap();
    let answer = read_answer(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Proves that an answer is a refusal in the one error shape.
fn assert_refusal(answer: &str, status: u16, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer:?}"));
    assert_eq!(body["errorCode"], code);
    let id = body["requestId"].as_str().unwrap();
    for header in ["connection: close", "cache-control: no-store", &format!("x-request-id: {id}")] {
        assert!(head.lines().any(|line| line.eq_ignore_ascii_case(header)), "{header}: {answer:?}");
    }
}

#[tokio::test]
async fn at_the_limit_the_connection_that_has_waited_longest_makes_room() {
    let service = start_with(&format!("max_connections = {MAX_CONNECTIONS}")).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        streams.push(send(&service, b"").await);
    }
    // In this order they begin to wait: 1, 2, … 15, 0.
    for index in (0..MAX_CONNECTIONS).chain([0]) {
        get_jwks(&mut streams[index]).await;
    }
    let mut more = Vec::new();
    for longest in &mut streams[1..=3] {
        more.push(send(&service, JWKS).await);
        assert_eq!(read_to_end(longest).await, "");
    }
    for index in (4..MAX_CONNECTIONS).chain([0]) {
        get_jwks(&mut streams[index]).await;
    }
    let metrics = service.metrics().await;
    let shed = "mintgate_http_connections_shed_total{which=\"waiting\"} 3";
    assert!(metrics.lines().any(|line| line == shed), "{metrics}");
}

#[tokio::test]
async fn at_the_limit_a_slow_body_makes_room() {
    let service = start_with(&format!("max_connections = {MAX_CONNECTIONS}")).await;
    let mut slow = Vec::new();
    for _ in 0..3 * MAX_CONNECTIONS {
        slow.push(slow_body(&service, TOKEN).await);
    }
    get_jwks(&mut send(&service, b"").await).await;
    service.refreshed(&service.signed_in().await.refresh).await;
}

#[tokio::test]
async fn what_is_not_http_is_400_in_the_error_shape_and_counted() {
    let service = start_with("").await;
    for request in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        let answer = read_to_end(&mut send(&service, request.as_bytes()).await).await;
        assert_refusal(&answer, 400, "INVALID_REQUEST");
    }
    let metrics = service.metrics().await;
    let counted =
        "mintgate_http_requests_total{method=\"other\",route=\"unreadable\",status=\"400\"} 4";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[tokio::test]
async fn an_answer_of_ours_without_a_body_is_not_taken_for_a_refusal_of_the_library() {
    let service = start_with("").await;
    let head = "HEAD /x HTTP/1.1\r\nhost: x\r\nx-request-id: 12345678\r\n\r\n";
    let mut stream = send(&service, head.as_bytes()).await;
    let answer = read_head(&mut stream).await;
    assert!(answer.contains("x-request-id: 12345678") && answer.ends_with("\r\n\r\n"), "{answer}");
    get_jwks(&mut stream).await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_431_as_soon_as_it_is_too_long() {
    let service = start_with("max_header_bytes = 4096").await;
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\npadding: {}", "x".repeat(24 * 1024));
    let answer = read_to_end(&mut send(&service, head.as_bytes()).await).await;
    assert_refusal(&answer, 431, "HEADERS_TOO_LARGE");

    let mut later = send(&service, b"").await;
    get_jwks(&mut later).await;
    later.write_all(head.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut later).await.contains("HEADERS_TOO_LARGE"));
}

#[tokio::test]
async fn a_head_that_does_not_arrive_is_408_also_after_another_request() {
    let service = start_with("request_timeout_ms = 400").await;
    let mut first = send(&service, b"GET / HT").await;
    assert_refusal(&read_to_end(&mut first).await, 408, "REQUEST_TIMEOUT");

    let mut later = send(&service, b"").await;
    get_jwks(&mut later).await;
    later.write_all(b"GET / HT").await.unwrap();
    assert!(read_to_end(&mut later).await.contains("REQUEST_TIMEOUT"));

    let mut silent = send(&service, b"").await;
    assert_eq!(read_to_end(&mut silent).await, "", "who asked for nothing is told nothing");
}

#[tokio::test]
async fn a_connection_without_a_request_is_kept_alive() {
    let service = start_with("request_timeout_ms = 100").await;
    let mut stream = send(&service, b"").await;
    for _ in 0..3 {
        get_jwks(&mut stream).await;
        // Longer than any head may take.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_the_body_closes_the_connection() {
    let service = start_with("").await;
    let head = |more: &str| format!("POST {TOKEN} HTTP/1.1\r\nhost: x\r\n{more}\r\n\r\n");
    let chunked = "transfer-encoding: chunked";
    for (more, body, status) in [
        (format!("content-type: application/json\r\n{chunked}"), "a000\r\n{:40960}", 413),
        (format!("content-type: text/plain\r\n{chunked}"), "5\r\nhello", 415),
        (format!("origin: https://evil.test\r\n{chunked}"), "", 403),
        (format!("accept: text/html\r\n{chunked}"), "", 406),
        ("content-type: application/json\r\ncontent-length: 1000000000".to_owned(), "", 413),
        ("content-type: text/plain\r\ncontent-length: 100".to_owned(), "", 415),
    ] {
        let body = body.replace("{:40960}", &" ".repeat(40_960));
        let mut stream = send(&service, (head(&more) + &body).as_bytes()).await;
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{more}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{more}: {answer}");
    }
}

#[tokio::test]
async fn after_an_early_answer_no_more_than_a_little_is_read() {
    let service = start_with("").await;
    for length in ["content-length: 10000000000", "transfer-encoding: chunked"] {
        let head = format!(
            "POST {TOKEN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
        );
        let mut stream = send(&service, head.as_bytes()).await;
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536));
        let mut sent = 0;
        while timeout(Duration::from_secs(20), stream.write_all(chunk.as_bytes()))
            .await
            .unwrap()
            .is_ok()
        {
            sent += chunk.len();
            assert!(sent < 64 * 1024 * 1024, "{length}: it reads on");
        }
    }
}

#[tokio::test]
async fn a_request_sent_ahead_is_answered_after_the_one_before_it() {
    let service = start_with("").await;
    let mut stream = send(&service, &JWKS.repeat(50)).await;
    stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    let answers = read_to_end(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 50, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");
}
