//! Questions byte by byte, as gateways send them.

use super::*;
use crate::common::wire::{read_answer, read_to_end, send};

/// The status line of an answer after which the connection is closed.
async fn last(service: &TestService, request: String) -> String {
    let mut stream = send(service, request.as_bytes()).await;
    let answer = read_to_end(&mut stream).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for_and_poisons_no_connection() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let cookie = access_cookie(&service.signed_in().await.access);
    for (line, more) in [
        ("GET {} HTTP/1.0", "content-length: 11\r\n"),
        ("GET {} HTTP/1.0", "content-length: 11\r\nconnection: keep-alive\r\n"),
        ("POST {} HTTP/1.0", ""),
        ("POST {} HTTP/1.0", "content-length: 11\r\nconnection: close\r\n"),
        ("PUT {} HTTP/1.0", ""),
        ("POST {} HTTP/1.1", "content-length: 11\r\n"),
        ("POST {} HTTP/1.1", "content-length: 3000000\r\n"),
        ("POST {} HTTP/1.1", "content-length: 11\r\nexpect: 100-continue\r\n"),
        ("PATCH {} HTTP/1.1", "transfer-encoding: chunked\r\n"),
        (
            "GET {} HTTP/1.1",
            "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n",
        ),
        ("GET {} HTTP/1.1", "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"),
        ("GET {} HTTP/1.1", "connection: close\r\n"),
    ] {
        for path in [CHECK, SHOP] {
            for (sent, expected) in [(cookie.as_str(), "200 OK"), ("a=b", "401 Unauthorized")] {
                let line = line.replace("{}", path);
                let request = format!("{line}\r\nhost: x\r\ncookie: {sent}\r\n{more}\r\n");
                let mut stream = send(&service, request.as_bytes()).await;
                let answer = read_to_end(&mut stream).await;
                let statuses: Vec<_> =
                    answer.lines().filter_map(|line| line.strip_prefix("HTTP/1.")).collect();
                let status = statuses.last().expect("an answer");
                assert!(status.ends_with(expected), "{request}{answer}");
                let interim = &statuses[..statuses.len() - 1];
                assert!(interim.iter().all(|it| it.contains("100 Continue")), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn questions_without_a_body_share_a_connection() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let cookie = access_cookie(&service.signed_in().await.access);
    let question = |line: &str| format!("{line} HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\r\n");
    let mut stream = send(&service, question(&format!("GET {CHECK}")).as_bytes()).await;
    for line in [format!("DELETE {SHOP}/7"), format!("GET {CHECK}"), format!("POST {SHOP}/7")] {
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200 OK"), "{line}");
        tokio::io::AsyncWriteExt::write_all(&mut stream, question(&line).as_bytes()).await.unwrap();
    }
    assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn headers_over_every_limit_are_401_too() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    for path in [CHECK, "/api/v1/auth/gateway/shop/orders"] {
        for size in [17_000, 30_000, 200_000] {
            let cookie = "x".repeat(size);
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: {cookie}\r\n\r\n"
            );
            assert_eq!(last(&service, request).await, "HTTP/1.1 401 Unauthorized", "{size}");
        }
    }
    let other =
        format!("GET /api/v1/auth/me HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(30_000));
    assert!(last(&service, other).await.contains("431"), "elsewhere they are refused as such");
}
