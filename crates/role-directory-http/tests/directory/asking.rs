//! One question and its answer.

use std::time::Duration;

use mintgate_domain::model::Role;
use mintgate_role_directory_http::{AnswerError, LookupFailure};
use serde_json::json;

use crate::server::{Reply, Rig, Server, reply, roles};

const MAX_BODY_BYTES: usize = 64 * 1024;

#[tokio::test]
async fn a_question_is_posted_as_json_with_the_token() {
    let server = Server::start(roles(&["b", "a", "b"])).await;
    assert_eq!(Rig::new(&server, |_| {}).ask().await.unwrap(), [Role::new("a"), Role::new("b")]);
    let requests = server.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(request.line, "POST /roles?v=1 HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer the-s3cret-token"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let expected = json!({
        "userId": "01920000-0000-7000-8000-000000000001",
        "provider": "corp",
        "issuer": "https://idp.example.com",
        "subject": "ada \"\\\u{1}é",
    });
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn without_a_token_there_is_no_authorization() {
    let server = Server::start(roles(&["a"])).await;
    assert_eq!(Rig::new(&server, |config| config.token = None).names().await, ["a"]);
    assert_eq!(server.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn somebody_unknown_has_no_roles() {
    let server = Server::start(reply("404 Not Found", "text/plain", "nobody")).await;
    assert!(Rig::new(&server, |_| {}).names().await.is_empty());
    server.say(roles(&[]));
    assert!(Rig::new(&server, |_| {}).names().await.is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::start(roles(&["admin"])).await;
    let server = Server::start(roles(&[])).await;
    for status in [301, 302, 303, 307, 308] {
        server.say(Reply::Bytes(format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: {}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            other.origin
        )));
        let failure = Rig::new(&server, |_| {}).failure().await;
        assert_eq!(failure, LookupFailure::Redirect(status));
    }
    assert_eq!((server.requests().len(), other.requests().len()), (5, 0));
}

#[tokio::test]
async fn any_other_status_is_a_failure_and_never_no_roles() {
    let server = Server::start(roles(&[])).await;
    let body = r#"{"roles":["the-s3cret-token"]}"#;
    for status in ["201 Created", "204 No Content", "400 Bad", "401 No", "403 No", "410 Gone"]
        .into_iter()
        .chain(["429 Slow Down", "500 Oops", "503 Later"])
    {
        let body = if status.starts_with("204") { "" } else { body };
        server.say(reply(status, "application/json", body));
        let failure = Rig::new(&server, |_| {}).failure().await;
        assert_eq!(failure, LookupFailure::Status(status[..3].parse().unwrap()));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_declared_as_json_is_refused() {
    let server = Server::start(roles(&[])).await;
    let body = r#"{"roles":["admin"]}"#;
    for content_type in ["text/html; charset=utf-8", "text/plain", "application/octet-stream"] {
        server.say(reply("200 OK", content_type, body));
        assert_eq!(Rig::new(&server, |_| {}).failure().await, LookupFailure::NotJson);
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
    server.say(Reply::Bytes(format!("{head}Connection: close\r\n\r\n{body}")));
    assert_eq!(Rig::new(&server, |_| {}).failure().await, LookupFailure::NotJson);
    server.say(reply("200 OK", "Application/JSON; charset=utf-8", body));
    assert_eq!(Rig::new(&server, |_| {}).names().await, ["admin"]);
}

#[tokio::test]
async fn an_answer_of_another_form_is_refused_and_not_repeated() {
    let server = Server::start(roles(&[])).await;
    for body in [
        "",
        "the-s3cret-token",
        "[]",
        "{}",
        r#"{"roles":"the-s3cret-token"}"#,
        r#"{"roles":["the-s3cret-token","two words"]}"#,
        r#"{"roles":["a"],"roles":["the-s3cret-token"]}"#,
        r#"{"roles":["a"#,
    ] {
        server.say(reply("200 OK", "application/json", body));
        let failure = Rig::new(&server, |_| {}).failure().await;
        assert!(matches!(failure, LookupFailure::Malformed(_)), "{failure:?}");
    }
    let many: Vec<String> = (0..101).map(|n| format!("r{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    server.say(roles(&many));
    let failure = Rig::new(&server, |_| {}).failure().await;
    assert_eq!(failure, LookupFailure::Malformed(AnswerError::TooManyRoles));
    server.say(roles(&many[..100]));
    assert_eq!(Rig::new(&server, |_| {}).names().await.len(), 100);
}

#[tokio::test]
async fn case_17_an_answer_is_cut_at_64_kib() {
    let too_long = LookupFailure::TooLarge;
    let padded = |length: usize| {
        let body = r#"{"roles":["a"]}"#;
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    let server = Server::start(reply("200 OK", "application/json", &padded(MAX_BODY_BYTES))).await;
    assert_eq!(Rig::new(&server, |_| {}).names().await, ["a"]);
    server.say(reply("200 OK", "application/json", &padded(MAX_BODY_BYTES + 1)));
    assert_eq!(Rig::new(&server, |_| {}).failure().await, too_long);

    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    // Believed at once, as nothing more comes.
    let declared = format!("{head}Content-Length: 9999999999\r\n\r\n{{");
    server.say(Reply::Endless(declared, b' ', Duration::from_hours(1)));
    assert_eq!(Rig::new(&server, |_| {}).failure().await, too_long);
    let endless = format!("{head}Connection: close\r\n\r\n{{");
    server.say(Reply::Endless(endless, b' ', Duration::ZERO));
    assert_eq!(Rig::new(&server, |_| {}).failure().await, too_long);
}

#[tokio::test]
async fn the_whole_call_ends_in_time() {
    let timeout = Duration::from_millis(300);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{";
    let dripping = Reply::Endless(head.to_owned(), b' ', Duration::from_millis(5));
    let silent = Server::holding(roles(&["a"])).await;
    let slow = Server::start(dripping).await;
    for server in [&silent, &slow] {
        let started = tokio::time::Instant::now();
        let failure = Rig::new(server, |config| config.timeout = timeout).failure().await;
        assert_eq!(failure, LookupFailure::TimedOut);
        // The timeout is one for the whole call, not one for each read.
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_breaks_off_is_a_failure() {
    let server = Server::start(Reply::Bytes(String::new())).await;
    let failure = Rig::new(&server, |_| {}).failure().await;
    assert!(matches!(failure, LookupFailure::Broken(_)), "{failure:?}");
    server.say(Reply::Bytes(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"roles\":[]}".to_owned(),
    ));
    let failure = Rig::new(&server, |_| {}).failure().await;
    assert!(matches!(failure, LookupFailure::Broken(_)), "{failure:?}");

    let [nobody] = mintgate_testkit::free_addresses();
    let rig = Rig::new(&server, |config| config.url.set_port(Some(nobody.port())).unwrap());
    let failure = rig.failure().await;
    assert!(matches!(failure, LookupFailure::Unreachable(_)), "{failure:?}");
}
