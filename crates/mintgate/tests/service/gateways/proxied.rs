//! A shipped configuration, run for real between callers and an app.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use mintgate_testkit::free_addresses;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// What forged headers say.
const FORGED: &str = "forged";

/// An app that answers every request with what it got; stopped when dropped.
pub(super) struct App {
    pub(super) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_all(stream));
            }
        });
        Self { address, serving }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer_all(mut stream: TcpStream) {
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let end = loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        while received.len() < end + length {
            let count = stream.read(&mut buffer).await.unwrap();
            received.extend_from_slice(&buffer[..count]);
        }
        if lower.contains("\r\nupgrade: websocket") {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(switch.as_bytes()).await.unwrap();
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                stream.write_all(&buffer[..count]).await.unwrap();
            }
            return;
        }
        // Of `/status/404`.
        let status = head.split("/status/").nth(1).and_then(|rest| rest.get(..3)).unwrap_or("200");
        let mut body = received[..end + length].to_vec();
        received.drain(..end + length);
        let answer = format!("HTTP/1.1 {status} It\r\ncontent-length: {}\r\n\r\n", body.len());
        if head.starts_with("HEAD ") {
            body.clear();
        }
        if stream.write_all(&[answer.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
    }
}

/// A gateway before an app, which asks a service.
pub(super) struct Scene {
    pub(super) service: TestService,
    pub(super) front: SocketAddr,
    _app: App,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The addresses and the directory that take the place of those of a shipped file.
pub(super) struct Places {
    pub(super) mintgate: SocketAddr,
    pub(super) app: SocketAddr,
    pub(super) front: SocketAddr,
    pub(super) dir: PathBuf,
}

/// A program, from `PATH` or `/usr/sbin`, where Debian has some.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = directories.map(|it| it.join(name)).find(|it| it.is_file());
    if found.is_none() {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests has to know")]
        let () = eprintln!("SKIPPED: there is no {name} (apt-get install nginx-light caddy)");
    }
    found
}

impl Scene {
    /// Starts all three; `prepare` writes the gateway's files and makes its command.
    pub(super) async fn set(prepare: impl FnOnce(&Places) -> Command) -> Self {
        let [front] = free_addresses();
        let mut options = options();
        options.more = options.more.replace("https://app.example.com", &format!("http://{front}"));
        let service = TestService::start_with(Store::Sqlite, options).await;
        let app = App::start().await;
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            mintgate: service.public,
            app: app.address,
            front,
            dir: dir.path().to_owned(),
        };
        let child = prepare(&places).spawn().expect("it starts");
        let scene = Self { service, front, _app: app, child, _dir: dir };
        for _ in 0..300 {
            if TcpStream::connect(front).await.is_ok() {
                return scene;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the gateway does not listen");
    }

    pub(super) fn request(&self, method: Method, path: &str, access: &str) -> RequestBuilder {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client.no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let request = client.request(method, format!("http://{}{path}", self.front));
        if access.is_empty() { request } else { request.header("cookie", access_cookie(access)) }
    }

    pub(super) async fn get(&self, path: &str, access: &str) -> (u16, String) {
        let answer = self.request(Method::GET, path, access).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Whom the app sees in a request with these lines and forged headers.
    async fn seen(&self, line: &str, more: &str) -> Vec<(String, String)> {
        let mut forged = String::new();
        for name in ["User", "Roles", "Session"] {
            for prefix in
                ["X-Auth-", "x-auth-", "X-AUTH-", "X_Auth_", "x_auth_", "X-Auth_", "X_Auth-"]
            {
                write!(forged, "{prefix}{name}: {FORGED}\r\n").unwrap();
            }
        }
        let request = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{more}{forged}\r\n",
            self.front
        );
        let mut stream = TcpStream::connect(self.front).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!body.contains(FORGED), "{body}");
        let headers = body.lines().filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| {
            (name.to_ascii_lowercase().replace('_', "-"), value.trim().to_owned())
        });
        let mut seen: Vec<_> = headers
            .filter(|(name, value)| name.starts_with("x-auth-") && !value.is_empty())
            .collect();
        seen.sort();
        seen
    }

    /// What every shipped configuration does.
    pub(super) async fn holds(&self) {
        self.tells_the_app_who_it_is_and_nothing_that_clients_say().await;
        self.sends_navigations_to_the_login_and_refuses_the_rest().await;
        self.passes_everything_else_on_as_it_is().await;
        self.is_unavailable_while_the_store_cannot_say().await;
    }

    async fn tells_the_app_who_it_is_and_nothing_that_clients_say(&self) {
        for (name, roles) in [("alice", "admin,staff,user"), ("carol", "user")] {
            let access = self.service.signed_in_as(name).await.access;
            let claims = claims(&access);
            let text = |name: &str| claims[name].as_str().unwrap().to_owned();
            let expected = [
                ("x-auth-roles".to_owned(), roles.to_owned()),
                ("x-auth-session".to_owned(), text("sid")),
                ("x-auth-user".to_owned(), text("sub")),
            ];
            let expected: Vec<_> =
                expected.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            let cookie = format!("cookie: {}\r\n", access_cookie(&access));
            for line in ["GET /orders", "POST /orders", "DELETE /public/../orders"] {
                assert_eq!(self.seen(line, &cookie).await, expected, "{line}");
            }
        }
        assert_eq!(self.seen("GET /public/a", "").await, []);
        let preflight = "origin: https://b.example\r\naccess-control-request-method: PUT\r\n";
        assert_eq!(self.seen("OPTIONS /orders", preflight).await, []);
    }

    async fn sends_navigations_to_the_login_and_refuses_the_rest(&self) {
        let path = "/search?q=a%26b&x=1";
        let page = format!(
            "http%3A%2F%2F127.0.0.1%3A{}%2Fsearch%3Fq%3Da%2526b%26x%3D1",
            self.front.port()
        );
        let login = format!("http://localhost:8080/api/v1/auth/start/corp?returnTo={page}");
        for (method, name, value) in [
            (Method::GET, "sec-fetch-mode", "navigate"),
            (Method::HEAD, "sec-fetch-mode", "navigate"),
            (Method::GET, "accept", "text/html,*/*;q=0.8"),
        ] {
            let sent = self.request(method, path, "").header(name, value).send().await.unwrap();
            assert_eq!(sent.status(), StatusCode::FOUND, "{name}");
            assert_eq!(header(&sent, "location"), Some(login.as_str()));
        }
        for (method, name, value) in [
            (Method::GET, "sec-fetch-mode", "cors"),
            (Method::GET, "accept", "*/*"),
            (Method::POST, "sec-fetch-mode", "navigate"),
            (Method::OPTIONS, "accept", "*/*"),
        ] {
            let request = self.request(method, path, "garbage").header(name, value);
            let refused = request.body("12345678901").send().await.unwrap();
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{name} {value}");
            assert_eq!(header(&refused, "x-auth-login"), Some(login.as_str()));
        }
        let [alice, bob] = ["alice", "bob"].map(|name| self.service.signed_in_as(name));
        let (alice, bob) = (alice.await.access, bob.await.access);
        assert_eq!(self.get("/admin/a", &alice).await.0, 200);
        assert_eq!(self.get("/admin/a", &bob).await.0, 403);
        assert_eq!(self.get("/orders", &bob).await.0, 200);
        self.service.log_out(&bob).send().await.unwrap();
        let navigation = self.request(Method::GET, "/admin/a", &bob);
        let sent = navigation.header("sec-fetch-mode", "navigate").send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::FOUND);
    }

    async fn passes_everything_else_on_as_it_is(&self) {
        let access = self.service.signed_in().await.access;
        for size in [11, 200_000] {
            let body = "x".repeat(size);
            let request = self.request(Method::POST, "/orders", &access).body(body.clone());
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.text().await.unwrap().ends_with(&body));
        }
        let head = self.request(Method::HEAD, "/orders", &access).send().await.unwrap();
        assert_eq!((head.status(), head.text().await.unwrap()), (StatusCode::OK, String::new()));
        // The app's own.
        for status in [401, 404, 500, 503] {
            let (seen, body) = self.get(&format!("/status/{status}"), &access).await;
            assert_eq!(seen, status);
            assert!(body.starts_with("GET /status/"), "{body}");
        }
        let own = format!("app={}; {}", "x".repeat(10_000), access_cookie(&access));
        let request = self.request(Method::GET, "/orders", "").header("cookie", own);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
        for (cookie, expected) in
            [(access_cookie(&access), "HTTP/1.1 101"), ("a=b".to_owned(), "HTTP/1.1 401")]
        {
            let request = format!(
                "GET /socket HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 sec-fetch-mode: websocket\r\ncookie: {cookie}\r\n\r\n",
                self.front
            );
            let mut stream = TcpStream::connect(self.front).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = crate::common::wire::read_head(&mut stream).await;
            assert!(head.starts_with(expected), "{head}");
            if expected.ends_with("101") {
                stream.write_all(b"hello").await.unwrap();
                let mut echo = [0; 5];
                stream.read_exact(&mut echo).await.unwrap();
                assert_eq!(&echo, b"hello");
            }
        }
    }

    async fn is_unavailable_while_the_store_cannot_say(&self) {
        let access = self.service.signed_in().await.access;
        let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
        let sql = rename("sessions", "sessions_elsewhere");
        self.service.sql(&sql, &sql).await;
        let request = self.request(Method::GET, "/orders", &access);
        let answer = request.header("sec-fetch-mode", "navigate").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(header(&answer, "retry-after").is_some(), "{answer:?}");
        let sql = rename("sessions_elsewhere", "sessions");
        self.service.sql(&sql, &sql).await;
        assert_eq!(self.get("/orders", &access).await.0, 200);
    }
}
