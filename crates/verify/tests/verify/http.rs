//! The HTTP client, against a server on a socket.

use std::time::Duration;

use mintgate_verify::{Fetch, FetchError, HttpFetch, Verifier};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use openssl::x509::extension::SubjectAlternativeName;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::signer::Signer;
use crate::{AUDIENCE, claims_with};

/// Answers each request by its path; returns the URL of the server.
async fn server(answer: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let own = url.clone();
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            match answer(&own, path) {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => unanswered.push(stream),
            }
        }
    });
    url
}

#[expect(clippy::unnecessary_wraps, reason = "an answer of the server, which may give none")]
fn response(status: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

#[tokio::test]
async fn keys_are_found_from_the_issuer_alone() {
    let signer = Signer::es256("1");
    let jwk = signer.jwk();
    let url = server(move |own, path| match path {
        "/.well-known/openid-configuration" => {
            let metadata = json!({ "issuer": own, "jwks_uri": format!("{own}/keys") });
            response("200 OK", &metadata.to_string())
        }
        "/keys" => response("200 OK", &json!({ "keys": [jwk] }).to_string()),
        _ => response("404 Not Found", ""),
    });
    let url = url.await;
    let verifier = Verifier::builder(url.as_str()).audience(AUDIENCE).build().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let times = json!({ "iss": url, "iat": now, "nbf": now, "exp": now + 60 });
    let claims = verifier.verify_or_fetch(&signer.token(&claims_with(&times))).await.unwrap();
    assert_eq!(claims.issuer, url);
}

#[tokio::test]
async fn only_a_complete_answer_of_limited_size_with_status_200_is_a_document() {
    let url = server(|own, path| match path {
        "/good" => response("200 OK", "good"),
        "/large" => response("200 OK", &"x".repeat(300_000)),
        "/redirect" => Some(format!(
            "HTTP/1.1 302 Found\r\nLocation: {own}/good\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )),
        "/cut" => Some("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ngood".to_owned()),
        "/hangs" => None,
        _ => response("503 Service Unavailable", "good"),
    });
    let url = url.await;
    let fetch = HttpFetch::new().unwrap();
    let get = async |path: &str| -> Result<Vec<u8>, FetchError> {
        let url = format!("{url}{path}");
        let limit = Duration::from_millis(500);
        let late = |_| Err(FetchError::new("late"));
        tokio::time::timeout(limit, fetch.get(&url)).await.unwrap_or_else(late)
    };
    assert_eq!(get("/good").await.unwrap(), b"good");
    for path in ["/large", "/redirect", "/cut", "/hangs", "/other"] {
        assert!(get(path).await.is_err(), "{path}");
    }
    assert!(fetch.get("http://127.0.0.1:1/").await.is_err());
}

#[tokio::test]
async fn a_server_with_a_certificate_that_nobody_trusts_gives_no_document() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        self_signed().accept(stream).map(drop).map_err(|error| error.to_string())
    });
    let error = HttpFetch::new().unwrap().get(&url).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert!(server.join().unwrap().is_err());
}

/// A TLS server with a certificate for 127.0.0.1 that it has signed itself.
fn self_signed() -> SslAcceptor {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let mut name = SubjectAlternativeName::new();
    let name = name.ip("127.0.0.1").build(&certificate.x509v3_context(None, None)).unwrap();
    certificate.append_extension(name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let mut acceptor = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate.build()).unwrap();
    acceptor.build()
}
