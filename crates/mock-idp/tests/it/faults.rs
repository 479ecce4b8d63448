//! Each fault does what it says, and nothing to the others.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mintgate_mock_idp::{Fault, FaultKind, Faults};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Mock, mock, sign_in};

const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

fn on_discovery(fault: impl Into<Fault>) -> Faults {
    Faults { discovery: Some(fault.into()), ..Faults::default() }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[expect(clippy::disallowed_methods, reason = "measures how long a fault takes")]
fn now() -> Instant {
    Instant::now()
}

/// A plain GET whose connection the caller holds, and what comes back until it closes.
async fn raw_get(mock: &Mock, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(mock.idp.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: mock\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn delay_answers_properly_but_later() {
    let mock = mock().await;
    mock.idp.control().set_faults(on_discovery(FaultKind::Delay { ms: 150 }));
    let begun = now();
    assert_eq!(mock.get_json(DISCOVERY).await["issuer"], mock.idp.issuer());
    assert!(begun.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_hanging_endpoint_leaves_the_others_alone_and_ends_with_the_server() {
    let mock = mock().await;
    mock.idp.control().set_faults(on_discovery(FaultKind::Hang));
    let mut hung = Vec::new();
    for _ in 0..50 {
        hung.push(raw_get(&mock, DISCOVERY).await);
    }
    while mock.idp.control().stats().discovery < 50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(mock.get("/jwks").await.status(), 200);
    let silent = timeout(Duration::from_millis(100), hung[0].read_u8()).await;
    assert!(silent.is_err(), "it answered");

    drop(mock);
    for mut stream in hung {
        let mut rest = Vec::new();
        let end = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it ends");
        assert!(end.is_err() || rest.is_empty(), "{end:?} {rest:?}");
    }
}

#[tokio::test]
async fn stop_waits_for_nobody_and_frees_the_port() {
    let mock = mock().await;
    mock.idp.control().set_faults(on_discovery(FaultKind::Hang));
    let _hung = raw_get(&mock, DISCOVERY).await;
    while mock.idp.control().stats().discovery < 1 {
        tokio::task::yield_now().await;
    }
    let address = mock.idp.address();
    timeout(DEADLINE, mock.idp.stop()).await.expect("it stops");
    let refused = TcpStream::connect(address).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn redirect_asks_to_repeat_the_request_elsewhere() {
    let mock = mock().await;
    let fault = FaultKind::Redirect { to: "http://127.0.0.1:1/token".into() };
    mock.idp.control().set_faults(Faults { token: Some(fault.into()), ..Faults::default() });
    let code = mock.idp.control().issue_code(sign_in());
    let answer = mock.exchange(&code).await;
    assert_eq!(answer.status(), 307);
    assert_eq!(answer.headers()["location"], "http://127.0.0.1:1/token");
    mock.idp.control().clear_faults();
    assert_eq!(mock.exchange(&code).await.status(), 200, "the code was left alone");
}

#[tokio::test]
async fn a_huge_body_has_no_length_and_its_bytes_are_counted() {
    let mock = mock().await;
    mock.idp.control().set_faults(on_discovery(FaultKind::Huge { bytes: Some(100_000) }));
    let answer = mock.get(DISCOVERY).await;
    assert_eq!(answer.content_length(), None);
    assert_eq!(answer.bytes().await.unwrap().len(), 100_000);
    assert_eq!(mock.idp.control().stats().huge_bytes, 100_000);
}

#[tokio::test]
async fn an_endless_body_ends_when_the_reader_leaves() {
    let mock = mock().await;
    mock.idp.control().set_faults(on_discovery(FaultKind::Huge { bytes: None }));
    let mut answer = mock.get(DISCOVERY).await;
    let mut read = 0;
    while read < 4_000_000 {
        read += answer.chunk().await.unwrap().expect("more to come").len();
    }
    drop(answer);
    mock.idp.control().clear_faults();
    timeout(DEADLINE, async {
        while mock.idp.control().stats().huge_bodies_ended == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it ends");
    assert!(mock.idp.control().stats().huge_bytes >= 4_000_000);
}

#[tokio::test]
async fn drip_gives_the_proper_answer_byte_by_byte() {
    let mock = mock().await;
    let genuine = mock.get("/jwks").await.bytes().await.unwrap();
    let fault = FaultKind::Drip { interval_ms: 2 };
    mock.idp.control().set_faults(Faults { jwks: Some(fault.into()), ..Faults::default() });
    let begun = now();
    let dripped = mock.get("/jwks").await.bytes().await.unwrap();
    assert_eq!(dripped, genuine);
    let least = Duration::from_millis(2) * u32::try_from(genuine.len() - 1).unwrap();
    assert!(begun.elapsed() >= least);
}

#[tokio::test]
async fn status_and_body_are_answered_as_ordered() {
    let mock = mock().await;
    let status = FaultKind::Status { status: 503, body: "{}".into() };
    mock.idp.control().set_faults(on_discovery(status));
    let answer = mock.get(DISCOVERY).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.text().await.unwrap(), "{}");

    let body = FaultKind::Body {
        body: "error=bad_verification_code".into(),
        content_type: "application/x-www-form-urlencoded".into(),
    };
    mock.idp.control().set_faults(Faults { token: Some(body.into()), ..Faults::default() });
    let answer = mock.exchange("x").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(answer.text().await.unwrap(), "error=bad_verification_code");
}

#[tokio::test]
async fn close_ends_the_connection_without_a_byte() {
    let mock = mock().await;
    mock.idp.control().set_faults(on_discovery(FaultKind::Close));
    let mut stream = raw_get(&mock, DISCOVERY).await;
    let mut answer = Vec::new();
    // A reset is as good an end as an orderly one.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it ends");
    assert_eq!(answer, b"");
    assert_eq!(mock.get("/jwks").await.status(), 200);
}

#[tokio::test]
async fn a_fault_for_n_requests_is_over_after_them() {
    let mock = mock().await;
    let fault = FaultKind::Status { status: 500, body: String::new() }.times(2);
    mock.idp.control().set_faults(on_discovery(fault));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(mock.get(DISCOVERY).await.status().as_u16());
    }
    assert_eq!(statuses, [500, 500, 200, 200]);
    assert_eq!(mock.idp.control().stats().discovery, 4);
}

#[tokio::test]
async fn documents_are_changed_member_by_member() {
    let mock = mock().await;
    mock.idp.control().set_faults(Faults {
        discovery_merge: object(&json!({ "issuer": "https://evil.example", "jwks_uri": null })),
        jwks_merge: object(&json!({ "use": "enc", "alg": null })),
        jwks_extra: vec![json!({ "kty": "oct", "k": "AAAA" })],
        token_merge: object(&json!({ "id_token": null, "error": "bad" })),
        userinfo_merge: object(&json!({ "sub": "mock|bob" })),
        ..Faults::default()
    });
    let discovery = mock.get_json(DISCOVERY).await;
    assert_eq!(discovery["issuer"], "https://evil.example");
    assert!(discovery.get("jwks_uri").is_none());
    assert_eq!(discovery["token_endpoint"], mock.url("/token"));

    let jwks = mock.get_json("/jwks").await;
    assert_eq!(jwks["keys"][0]["use"], "enc");
    assert!(jwks["keys"][0].get("alg").is_none() && jwks["keys"][0]["x"].is_string());
    assert_eq!(jwks["keys"][1]["k"], "AAAA");

    let tokens = mock.tokens().await;
    assert!(tokens.get("id_token").is_none());
    assert_eq!(tokens["error"], "bad");
    let access = tokens["access_token"].as_str().unwrap();
    let userinfo = mock.http.get(mock.url("/userinfo")).bearer_auth(access).send().await.unwrap();
    assert_eq!(userinfo.json::<Value>().await.unwrap()["sub"], "mock|bob");
}

#[tokio::test]
async fn the_key_set_can_be_replaced_whole() {
    let mock = mock().await;
    let replacement = json!({ "keys": [] });
    let faults = Faults { jwks_replace: Some(replacement.clone()), ..Faults::default() };
    mock.idp.control().set_faults(faults);
    assert_eq!(mock.get_json("/jwks").await, replacement);
}
