//! TLS on the public listener, by the real binary: handshakes, HTTP/2, and certificates that are replaced
//! while it runs.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http_02::request::Builder;
use http_02::{HeaderMap, Method, Request, StatusCode};
use mintgate_testkit::tls::Certificates;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;

use crate::common::process::Process;

const NAME: &str = "auth.example.com";
const JWKS: &str = "/.well-known/jwks.json";
const BODY_DELIVERY: &str = "[tokens]\nbody_delivery = true";
const LONG: Duration = Duration::from_secs(30);

/// A process that speaks TLS, and its files.
struct Scene {
    process: Process,
    files: tempfile::TempDir,
}

/// What a client asks for in its handshake.
struct Client {
    sends_name: bool,
    protocols: &'static [u8],
    newest: Option<SslVersion>,
}

const HTTP1: Client = Client { sends_name: true, protocols: b"\x08http/1.1", newest: None };
const HTTP2: Client = Client { sends_name: true, protocols: b"\x02h2\x08http/1.1", newest: None };

impl Scene {
    async fn set(certificates: &Certificates, more: &str) -> Self {
        Self::set_with(certificates, more, |_| ()).await
    }

    async fn set_with(
        certificates: &Certificates,
        more: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        std::fs::write(path("cert.pem"), &certificates.certificate).unwrap();
        std::fs::write(path("key.pem"), &certificates.key).unwrap();
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        let process = Process::start(more, "", |command| {
            command.env("MINTGATE__SERVER__TLS_CERT_FILE", certificate);
            command.env("MINTGATE__SERVER__TLS_KEY_FILE", key);
            command.env("MINTGATE__SERVER__PUBLIC_URL", format!("https://{NAME}"));
            prepare(command);
        })
        .await;
        Self { process, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Puts a text in the place of a file, as tools for certificates do.
    fn replace(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    fn replace_both(&self, certificates: &Certificates) {
        self.replace("cert.pem", &certificates.certificate);
        self.replace("key.pem", &certificates.key);
    }

    /// A handshake; what the listener presented.
    async fn connect(&self, client: &Client) -> std::io::Result<SslStream<TcpStream>> {
        let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        connector.set_alpn_protos(client.protocols).unwrap();
        connector.set_max_proto_version(client.newest).unwrap();
        if client.newest.is_some() {
            // Else this client itself refuses old versions.
            connector.set_min_proto_version(None).unwrap();
            connector.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
        }
        let configuration = connector.build().configure().unwrap();
        let ssl = configuration.use_server_name_indication(client.sends_name);
        let ssl = ssl.verify_hostname(false).into_ssl(NAME).unwrap();
        let stream = TcpStream::connect(self.process.public).await?;
        let mut stream = SslStream::new(ssl, stream).unwrap();
        let shaken = timeout(LONG, Pin::new(&mut stream).connect()).await.expect("in time");
        shaken.map_err(std::io::Error::other)?;
        Ok(stream)
    }

    /// Whether a new connection is presented this certificate.
    async fn presents(&self, certificates: &Certificates) -> bool {
        let stream = self.connect(&HTTP1).await.unwrap();
        let presented = stream.ssl().peer_certificate().unwrap();
        presented == X509::from_pem(certificates.certificate.as_bytes()).unwrap()
    }

    async fn until_it_presents(&self, certificates: &Certificates) {
        for _ in 0..600 {
            if self.presents(certificates).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never presents the certificate");
    }

    /// The value of the series about the certificate.
    async fn series(&self, name: &str) -> i64 {
        let metrics = self.process.ops("/metrics").await.unwrap().1;
        let start = format!("mintgate_tls_certificate_{name}{{listener=\"public\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&start)).expect(name);
        value.parse().expect("a whole number")
    }

    async fn until_series(&self, name: &str, value: i64) {
        for _ in 0..600 {
            if self.series(name).await == value {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} is never {value}");
    }

    async fn reload(&self) -> (Option<i32>, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mintgate"));
        command.env_clear().arg("--config").arg(self.process.config()).arg("reload");
        let output = command.output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    async fn http2(&self) -> SendRequest<Bytes> {
        let stream = self.connect(&HTTP2).await.unwrap();
        assert_eq!(stream.ssl().selected_alpn_protocol(), Some(&b"h2"[..]));
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// A request of HTTP/2 for a path.
fn request(method: Method, path: &str) -> Builder {
    Request::builder().method(method).uri(format!("https://{NAME}{path}"))
}

/// Sends a request with this body; its answer.
async fn send(client: &SendRequest<Bytes>, request: Builder, body: &str) -> Answer {
    let mut client = client.clone().ready().await.unwrap();
    let request = request.body(()).unwrap();
    let (answer, mut sending) = client.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        sending.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
    }
    received(answer).await
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn received(answer: ResponseFuture) -> Answer {
    let answer = timeout(LONG, answer).await.expect("in time").unwrap();
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        bytes.extend_from_slice(&chunk);
    }
    let body = String::from_utf8(bytes).unwrap();
    Answer { status: head.status, headers: head.headers, body }
}

/// Sends a request of HTTP/1.1 on a connection; the beginning of the answer.
async fn get(stream: &mut SslStream<TcpStream>) -> String {
    let head = format!("GET {JWKS} HTTP/1.1\r\nhost: {NAME}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 16 * 1024];
    let read = timeout(LONG, stream.read(&mut answer)).await.expect("in time").unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn http1_and_http2_are_spoken_over_tls_1_2_and_later() {
    let scene = Scene::set(&Certificates::made_for(NAME), "").await;
    let mut stream = scene.connect(&HTTP1).await.unwrap();
    assert_eq!(stream.ssl().version_str(), "TLSv1.3");
    assert!(get(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"), "on the same connection");
    let with = |newest| Client { newest: Some(newest), ..HTTP1 };
    let stream = scene.connect(&with(SslVersion::TLS1_2)).await.unwrap();
    assert_eq!(stream.ssl().version_str(), "TLSv1.2");
    assert!(scene.connect(&with(SslVersion::TLS1_1)).await.is_err());
    let unknown = Client { protocols: b"\x03foo", ..HTTP1 };
    assert!(scene.connect(&unknown).await.is_err(), "no protocol in common");

    let client = scene.http2().await;
    let answer = send(&client, request(Method::GET, JWKS), "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.starts_with("{\"keys\":["), "{answer:?}");
    assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
    assert!(answer.headers.contains_key("date") && answer.headers.contains_key("x-request-id"));
    let head = send(&client, request(Method::HEAD, JWKS), "").await;
    assert_eq!((head.status, &head.body[..]), (StatusCode::OK, ""));
    assert_eq!(head.headers["content-length"], answer.headers["content-length"]);
}

#[tokio::test]
async fn requests_over_http2_are_read_and_refused_as_over_http1() {
    let scene = Scene::set(&Certificates::made_for(NAME), BODY_DELIVERY).await;
    let client = scene.http2().await;
    let refresh = || request(Method::POST, "/api/v1/auth/refresh");
    let json = || refresh().header("content-type", "application/json");
    let code = |answer: &Answer| {
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        body["errorCode"].as_str().expect("a code").to_owned()
    };
    for (request, body, expected) in [
        (json(), "{\"refreshToken\":\"x\"}".to_owned(), "INVALID_REFRESH_TOKEN"),
        (json(), "x".repeat(40 * 1024), "PAYLOAD_TOO_LARGE"),
        (json(), "{".to_owned(), "INVALID_REQUEST"),
        // Clients divide cookies (RFC 9113 §8.2.3).
        (
            refresh().header("cookie", "a=b").header("cookie", "Auth-Refresh-Token=x"),
            String::new(),
            "INVALID_REFRESH_TOKEN",
        ),
        (
            refresh()
                .header("cookie", "Auth-Refresh-Token=x")
                .header("cookie", "Auth-Refresh-Token=y"),
            String::new(),
            "DUPLICATE_COOKIE",
        ),
        (
            request(Method::GET, JWKS).header("x", "y".repeat(20_000)),
            String::new(),
            "HEADERS_TOO_LARGE",
        ),
        (request(Method::DELETE, JWKS), String::new(), "METHOD_NOT_ALLOWED"),
        (request(Method::GET, "/nothing"), String::new(), "NOT_FOUND"),
    ] {
        let answer = send(&client, request, &body).await;
        assert_eq!(code(&answer), expected, "{answer:?}");
    }
    // More than the client may have under way at once, on one connection.
    let many = (0..300).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { send(&client, request(Method::GET, JWKS), "").await.status })
    });
    for status in futures_util::future::join_all(many).await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn no_handshake_fails_while_certificates_are_replaced() {
    let [one, other] = [NAME; 2].map(Certificates::made_for);
    let scene = Arc::new(Scene::set(&one, "").await);
    let (is_over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients = [true, false, true, false].map(|sends_name| {
        let (scene, is_over, made) = (Arc::clone(&scene), Arc::clone(&is_over), Arc::clone(&made));
        let client = Client { sends_name, ..if sends_name { HTTP2 } else { HTTP1 } };
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                scene.connect(&client).await.expect("a handshake");
                made.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for round in 0..20 {
        let next = if round % 2 == 0 { &other } else { &one };
        scene.replace_both(next);
        assert_eq!(scene.reload().await.0, Some(0));
        assert!(scene.presents(next).await, "round {round}");
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("none failed");
    }
    assert!(made.load(Ordering::Relaxed) > 50, "{made:?}");
}

#[tokio::test]
async fn half_a_pair_is_refused_and_the_whole_is_noticed_without_being_told() {
    let [one, other] = [NAME; 2].map(Certificates::made_for);
    let scene = Scene::set(&one, "").await;
    let (mut http1, http2) = (scene.connect(&HTTP1).await.unwrap(), scene.http2().await);
    scene.until_series("last_reload_successful", 1).await;
    let remaining = scene.series("not_after_timestamp_seconds").await
        - scene.series("not_before_timestamp_seconds").await;
    assert_eq!(remaining, 86_400);

    scene.replace("cert.pem", &other.certificate);
    let (code, text) = scene.reload().await;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("server.tls_key_file") && text.contains("key.pem"), "{text}");
    scene.until_series("last_reload_successful", 0).await;
    assert!(scene.presents(&one).await);

    scene.replace("key.pem", &other.key);
    scene.until_it_presents(&other).await;
    scene.until_series("last_reload_successful", 1).await;
    assert!(get(&mut http1).await.starts_with("HTTP/1.1 200"), "the connection goes on");
    let answer = send(&http2, request(Method::GET, JWKS), "").await;
    assert_eq!(answer.status, StatusCode::OK);

    std::fs::remove_file(scene.path("key.pem")).unwrap();
    scene.until_series("last_reload_successful", 0).await;
    assert!(scene.presents(&other).await);
}

/// As Kubernetes replaces the files of a Secret: the names stay, and what they lead through is swapped.
#[tokio::test]
async fn a_pair_that_is_swapped_as_a_whole_is_noticed() {
    let first = Certificates::made_for(NAME);
    let scene = Scene::set(&first, "").await;
    let version = |name: &str, pair: &Certificates| {
        std::fs::create_dir(scene.path(name)).unwrap();
        std::fs::write(scene.path(name).join("cert.pem"), &pair.certificate).unwrap();
        std::fs::write(scene.path(name).join("key.pem"), &pair.key).unwrap();
        symlink(name, scene.path("..data_tmp")).unwrap();
        std::fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
    };
    version("..1", &first);
    for name in ["cert.pem", "key.pem"] {
        symlink(format!("..data/{name}"), scene.path("link")).unwrap();
        std::fs::rename(scene.path("link"), scene.path(name)).unwrap();
    }
    assert!(scene.presents(&first).await);
    let second = Certificates::made_for(NAME);
    version("..2", &second);
    scene.until_it_presents(&second).await;
}

#[tokio::test]
async fn unfinished_handshakes_make_room_for_others_and_end_in_time() {
    let more = "[limits]\nmax_connections = 20\nrequest_timeout_ms = 2000";
    let scene = Scene::set(&Certificates::made_for(NAME), more).await;
    let mut unfinished = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(scene.process.public).await.unwrap();
        // The beginning of a ClientHello; some are closed already.
        let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await;
        unfinished.push(stream);
    }
    let mut stream = scene.connect(&HTTP1).await.unwrap();
    assert!(get(&mut stream).await.starts_with("HTTP/1.1 200"));
    let client = scene.http2().await;
    let answer = send(&client, request(Method::GET, JWKS), "").await;
    assert_eq!(answer.status, StatusCode::OK);
    for mut stream in unfinished {
        let ended = async { while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} };
        timeout(LONG, ended).await.expect("the listener ends it");
    }
    // A client that has made the handshake and asks for nothing.
    let mut silent = scene.connect(&HTTP2).await.unwrap();
    let ended = async { while silent.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} };
    timeout(LONG, ended).await.expect("the listener ends it");
}

#[tokio::test]
async fn a_stop_waits_for_requests_over_http2_and_not_for_idle_connections() {
    let mut scene = Scene::set(&Certificates::made_for(NAME), BODY_DELIVERY).await;
    let idle = scene.http2().await;
    assert_eq!(send(&idle, request(Method::GET, JWKS), "").await.status, StatusCode::OK);
    let mut client = scene.http2().await.ready().await.unwrap();
    let head = request(Method::POST, "/api/v1/auth/refresh");
    let head = head.header("content-type", "application/json").body(()).unwrap();
    let (answer, mut body) = client.send_request(head, false).unwrap();
    body.send_data(Bytes::from_static(b"{\"refreshToken\":"), false).unwrap();
    // The request has arrived once one that was sent after it is answered.
    assert_eq!(send(&client, request(Method::GET, JWKS), "").await.status, StatusCode::OK);
    scene.process.signal("TERM");
    for _ in 0..500 {
        if TcpStream::connect(scene.process.public).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    body.send_data(Bytes::from_static(b"\"x\"}"), true).unwrap();
    assert_eq!(received(answer).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(scene.process.exit_code(6).await, Some(0));
}

#[tokio::test]
async fn while_it_drains_a_connection_of_http2_ends_behind_its_requests() {
    let mut scene = Scene::set_with(&Certificates::made_for(NAME), "", |command| {
        command.env("MINTGATE__SERVER__DRAIN_SECS", "2");
    })
    .await;
    let stream = scene.connect(&HTTP2).await.unwrap();
    let (used, connection) = h2::client::handshake(stream).await.unwrap();
    let used_ends = tokio::spawn(connection);
    assert_eq!(send(&used, request(Method::GET, JWKS), "").await.status, StatusCode::OK);
    scene.process.signal("TERM");
    let _ = timeout(LONG, used_ends).await.expect("it is told to go");
    // Whoever comes late is answered too.
    let stream = scene.connect(&HTTP2).await.unwrap();
    let (late, connection) = h2::client::handshake(stream).await.unwrap();
    let late_ends = tokio::spawn(connection);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(send(&late, request(Method::GET, JWKS), "").await.status, StatusCode::OK);
    let _ = timeout(LONG, late_ends).await.expect("it is told to go");
    assert!(TcpStream::connect(scene.process.public).await.is_ok(), "it still accepts");
    assert_eq!(scene.process.exit_code(10).await, Some(0));
}
