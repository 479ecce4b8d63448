//! A whole service for a test: the real application on real ports, a real provider, a real store.

pub(crate) mod browser;
pub(crate) mod dump;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod process;
pub(crate) mod session;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mintgate::app::Application;
use mintgate::commands;
use mintgate::settings::Settings;
use mintgate_domain::ports::Clock;
use mintgate_mock_idp::{MockConfig, MockIdp, SignIn};
use mintgate_testkit::fault_proxy::FaultProxy;
use mintgate_testkit::http::{Client, RequestBuilder};
use mintgate_testkit::postgres::TestDatabase;
use mintgate_testkit::{Dump, free_addresses};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(crate) use session::Tokens;

pub(crate) const REDIRECT_URI: &str = "http://localhost:3000/callback";

/// Which store a test runs on.
#[derive(Clone, Copy)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

/// Runs each test once on each store.
#[macro_export]
macro_rules! on_both_stores {
    ($($(#[$doc:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {
        mod on_sqlite {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(Store::Sqlite).await; })*
        }
        mod on_postgres {
            use super::*;
            $(#[tokio::test] async fn $name() {
                if mintgate_testkit::postgres::is_given() {
                    super::$name(Store::Postgres).await;
                }
            })*
        }
        $($(#[$doc])* async fn $name($store: Store) $body)*
    };
}

enum StoreGuard {
    Sqlite,
    Postgres(TestDatabase),
}

/// The running service.
pub(crate) struct TestService {
    idp: Option<MockIdp>,
    pub(crate) client: Client,
    pub(crate) public: SocketAddr,
    pub(crate) ops: SocketAddr,
    dir: tempfile::TempDir,
    store: StoreGuard,
    line: Option<FaultProxy>,
    text: String,
    clock: Option<Arc<dyn Clock>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What a test wants to be different.
pub(crate) struct Options {
    /// Lines of the provider's table.
    pub(crate) provider: &'static str,
    /// Sections of the file besides; `[tokens]` and the like.
    pub(crate) more: String,
    /// Lines of the server's section.
    pub(crate) server: &'static str,
    /// How long the store is waited for. Short only where a test takes it away: a busy machine is slow.
    pub(crate) store_timeout_ms: u32,
    /// Lines of the store's section.
    pub(crate) store: &'static str,
    /// Lines of the keys' section.
    pub(crate) keys: String,
    /// Replaces the store's address, to put something in between or to share one.
    pub(crate) store_url: Option<String>,
    /// Whether a line that can be cut is put between the service and its Postgres.
    pub(crate) behind_a_line: bool,
    /// Says in `server.public_url` where it really is.
    pub(crate) real_address: bool,
    /// The path of `server.public_url`.
    pub(crate) path: &'static str,
    /// Replaces the machine's clock.
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) without_schema: bool,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) mock: MockConfig,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            provider: "",
            more: String::new(),
            server: "",
            store_timeout_ms: 10_000,
            store: "",
            keys: String::new(),
            store_url: None,
            behind_a_line: false,
            real_address: false,
            path: "",
            clock: None,
            without_schema: false,
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            mock: MockConfig::default(),
        }
    }
}

impl TestService {
    pub(crate) async fn start(store: Store) -> Self {
        Self::start_with(store, Options::default()).await
    }

    pub(crate) async fn start_with(store: Store, options: Options) -> Self {
        let mut mock = options.mock;
        for client in &mut mock.clients {
            client.redirect_uris.push(REDIRECT_URI.to_owned());
        }
        let idp = MockIdp::start(mock).await.expect("the provider starts");
        let dir = tempfile::tempdir().expect("a directory");
        let mut line = None;
        let (guard, url) = match store {
            Store::Sqlite => {
                (StoreGuard::Sqlite, format!("sqlite://{}", dir.path().join("test.db").display()))
            }
            Store::Postgres => {
                let database = database().await;
                let mut url = database.url();
                if options.behind_a_line {
                    let cuttable = FaultProxy::start(database.host_and_port()).await;
                    url = database.url_through(cuttable.address());
                    line = Some(cuttable);
                }
                (StoreGuard::Postgres(database), url)
            }
        };
        let keys = dir.path().join("keys");
        let (listen, public_url) = if options.real_address {
            let [address] = free_addresses();
            (address.to_string(), format!("http://{address}{}", options.path))
        } else {
            ("127.0.0.1:0".to_owned(), "http://localhost:8080".to_owned())
        };
        let text = format!(
            r#"
            {more}
            [server]
            listen = "{listen}"
            public_url = "{public_url}"
            workers = 1
            {server_lines}
            [ops]
            listen = "127.0.0.1:0"
            [store]
            url = "{url}"
            connect_timeout_ms = {store_timeout_ms}
            statement_timeout_ms = {store_timeout_ms}
            {store_lines}
            [keys]
            dir = "{keys}"
            {keys_lines}
            [[roles.rules]]
            provider = "corp"
            claim = "groups"
            in = ["admins"]
            grant = ["admin"]
            [[roles.rules]]
            claim = "email"
            domain = "example.com"
            grant = ["staff"]
            [[providers]]
            id = "corp"
            issuer = "{issuer}"
            client_id = "mintgate"
            client_secret = "mintgate-dev-secret"
            redirect_uris = {redirect_uris:?}
            {provider}
            "#,
            more = options.more,
            server_lines = options.server,
            url = options.store_url.as_deref().unwrap_or(&url),
            store_timeout_ms = options.store_timeout_ms,
            store_lines = options.store,
            keys = keys.display(),
            keys_lines = options.keys,
            issuer = idp.issuer(),
            provider = options.provider,
            redirect_uris = options.redirect_uris,
        );
        if options.store_url.is_none() && !options.without_schema {
            commands::migrate(&settings(&text).store).await.expect("the schema is made");
        }
        let (public, ops, stop, thread) = run(settings(&text), options.clock.clone());
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client");
        Self {
            idp: Some(idp),
            client: client.into(),
            public,
            ops,
            dir,
            store: guard,
            line,
            text,
            clock: options.clock,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Ends the process, as far as it is one, and starts another on the same store.
    pub(crate) fn restart(&mut self) {
        self.ask_to_stop();
        self.wait_until_stopped();
        let (public, ops, stop, thread) = run(settings(&self.text), self.clock.clone());
        (self.public, self.ops) = (public, ops);
        (self.stop, self.thread) = (Some(stop), Some(thread));
    }

    /// The same with another configuration: that which `change` makes of the one before.
    pub(crate) fn restart_with(&mut self, change: impl FnOnce(&str) -> String) {
        self.text = change(&self.text);
        self.restart();
    }

    /// Another process of the same configuration, beside this one: the same store, the same keys.
    pub(crate) fn replica(&self) -> Replica {
        self.replica_with(str::to_owned)
    }

    /// The same with the configuration that `change` makes of this one.
    pub(crate) fn replica_with(&self, change: impl FnOnce(&str) -> String) -> Replica {
        let (public, _, stop, thread) = run(settings(&change(&self.text)), self.clock.clone());
        Replica { public, stop: Some(stop), thread: Some(thread) }
    }

    /// The same as [`replica`](Self::replica), as a process that may be killed, with the machine's clock.
    pub(crate) async fn replica_process(&self) -> process::Process {
        process::Process::replica(&self.text).await
    }

    /// Its configuration as a file, for commands.
    pub(crate) fn config_file(&self) -> std::path::PathBuf {
        let path = self.dir.path().join("mintgate.toml");
        std::fs::write(&path, &self.text).expect("a file");
        path
    }

    /// Another configuration as a file: that which `change` makes of its own.
    pub(crate) fn config_with(&self, change: impl FnOnce(&str) -> String) -> std::path::PathBuf {
        let path = self.dir.path().join("changed.toml");
        std::fs::write(&path, change(&self.text)).expect("a file");
        path
    }

    /// A directory that goes with it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The provider, while it has not been stopped.
    pub(crate) fn idp(&self) -> &MockIdp {
        self.idp.as_ref().expect("the provider runs")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    pub(crate) fn ops_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ops)
    }

    /// A code for alice, as from a bare authorization request.
    pub(crate) fn code(&self) -> String {
        self.code_for("alice")
    }

    pub(crate) fn code_for(&self, user: &str) -> String {
        self.idp().control().issue_code(sign_in(user))
    }

    pub(crate) fn post(&self, body: &Value) -> RequestBuilder {
        self.client.post(self.url("/api/v1/auth/token")).json(body)
    }

    /// Posts a code as the specification's example does.
    pub(crate) async fn login(&self, code: &str) -> Response {
        self.post(&bare(code)).send().await.expect("an answer")
    }

    /// Everything in the store but who cleans up, who lives and how long tokens live, which do not hang together
    /// with requests, and the audit log, which is written after the answer.
    pub(crate) async fn dump(&self) -> Dump {
        let apart = ["duties", "replicas", "audit_events", "audit_head", "revocation_log"];
        let tables = Dump::TABLES.into_iter().filter(|table| !apart.contains(table)).collect();
        self.dump_of(tables).await
    }

    /// Every row of these tables.
    pub(crate) async fn dump_of(&self, tables: Vec<&'static str>) -> Dump {
        let tables = tables.into_iter();
        match &self.store {
            StoreGuard::Sqlite => dump::sqlite(&self.sqlite_file(), tables),
            StoreGuard::Postgres(database) => {
                dump::postgres(&database.client().await, tables).await
            }
        }
    }

    /// Changes rows past the service, by a statement in the store's own language.
    pub(crate) async fn sql(&self, sqlite: &str, postgres: &str) {
        match &self.store {
            StoreGuard::Sqlite => dump::run_on_sqlite(&self.sqlite_file(), sqlite),
            StoreGuard::Postgres(database) => {
                database.client().await.batch_execute(postgres).await.expect("the statement");
            }
        }
    }

    /// The address of the store, for another process.
    pub(crate) fn store_url(&self) -> String {
        match &self.store {
            StoreGuard::Sqlite => format!("sqlite://{}", self.sqlite_file().display()),
            StoreGuard::Postgres(database) => database.url(),
        }
    }

    pub(crate) fn sqlite_file(&self) -> std::path::PathBuf {
        self.dir.path().join("test.db")
    }

    /// How many sessions there are.
    pub(crate) async fn sessions(&self) -> usize {
        let [.., sessions] = self.dump().await.counts();
        sessions
    }

    /// Takes the provider away; nothing listens at its address any more.
    pub(crate) async fn stop_provider(&mut self) {
        if let Some(idp) = self.idp.take() {
            idp.stop().await;
        }
    }

    /// What SIGTERM does.
    pub(crate) fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub(crate) fn wait_until_stopped(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the service ended well");
        }
    }

    /// On a Postgres behind a [`line`](Self::line), which it does not wait for long; `None` if no Postgres is given.
    pub(crate) async fn behind_a_line() -> Option<Self> {
        if !mintgate_testkit::postgres::is_given() {
            return None;
        }
        // Long enough for a busy machine: what is answered 503 after a cut has to be the cut.
        let options = Options { behind_a_line: true, store_timeout_ms: 3000, ..Options::default() };
        Some(Self::start_with(Store::Postgres, options).await)
    }

    /// The line to its Postgres.
    pub(crate) fn line(&self) -> &FaultProxy {
        self.line.as_ref().expect("it was put there")
    }

    /// Returns when the service has found its store again, as a load balancer does.
    pub(crate) async fn until_ready(&self) {
        let ready = async {
            let url = self.ops_url("/health/ready");
            while self.client.get(&url).send().await.expect("an answer").status() != StatusCode::OK
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ready).await.expect("it is ready again");
    }

    pub(crate) async fn metrics(&self) -> String {
        let answer = self.client.get(self.ops_url("/metrics")).send().await.expect("metrics");
        answer.text().await.expect("text")
    }

    /// Sends a request that must be refused, and proves everything a refusal promises.
    pub(crate) async fn refused(
        &self,
        request: RequestBuilder,
        status: StatusCode,
        code: &str,
    ) -> Value {
        let before = self.dump().await;
        let answer = request.send().await.expect("an answer");
        let body = assert_error(answer, status, code).await;
        assert_eq!(self.dump().await, before, "a refusal writes nothing");
        body
    }
}

/// A second process beside a [`TestService`].
pub(crate) struct Replica {
    public: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Replica {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A Postgres database of the test's own, with the schema.
pub(crate) async fn database() -> TestDatabase {
    TestDatabase::create(|url| async move {
        let provider = "[[providers]]\nid = \"x\"\nissuer = \"https://idp.example.com\"\n\
            client_id = \"x\"\nredirect_uris = [\"https://app.example.com\"]";
        let settings = Settings::from_toml(&format!("[store]\nurl = \"{url}\"\n{provider}"));
        let settings = settings.unwrap_or_else(|error| panic!("{error}"));
        commands::migrate(&settings.store).await.expect("the schema is made");
    })
    .await
}

fn settings(text: &str) -> Settings {
    Settings::from_toml(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A sign-in as from a bare authorization request.
pub(crate) fn sign_in(user: &str) -> SignIn {
    SignIn {
        user: user.to_owned(),
        client_id: "mintgate".to_owned(),
        redirect_uri: REDIRECT_URI.to_owned(),
        ..SignIn::default()
    }
}

/// The specification's bare request.
pub(crate) fn bare(code: &str) -> Value {
    json!({ "authCode": code, "provider": "corp", "redirectUri": REDIRECT_URI })
}

/// Proves that an answer is a refusal in the one error shape; its body.
pub(crate) async fn assert_error(answer: Response, status: StatusCode, code: &str) -> Value {
    let headers = answer.headers().clone();
    let actual = answer.status();
    let text = answer.text().await.expect("a body");
    assert_eq!(actual, status, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}"));
    assert_eq!(body["errorCode"], code, "{text}");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-request-id"], body["requestId"].as_str().expect("an id"));
    let timestamp = body["timestamp"].as_str().expect("a timestamp");
    assert!(timestamp.len() == 20 && timestamp.ends_with('Z'), "{timestamp}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()));
    let mut members: Vec<_> = body.as_object().expect("an object").keys().collect();
    members.retain(|name| *name != "details");
    members.sort();
    assert_eq!(members, ["errorCode", "message", "requestId", "timestamp"]);
    if status == StatusCode::UNAUTHORIZED {
        assert!(headers.contains_key("www-authenticate"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        assert!(headers.contains_key("retry-after"));
    }
    for cookie in headers.get_all("set-cookie") {
        let cookie = cookie.to_str().expect("text");
        assert!(cookie.contains("=; ") && cookie.contains("Max-Age=0"), "{cookie}");
    }
    body
}

/// Runs the service on a thread of its own until the sender is used or dropped.
fn run(
    settings: Settings,
    clock: Option<Arc<dyn Clock>>,
) -> (SocketAddr, SocketAddr, oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let (report, addresses) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let mut builder = Application::builder(settings).more_routes(|config| {
                config.route("/test/panic", actix_web::web::get().to(panics));
            });
            if let Some(clock) = clock {
                builder = builder.clock(clock);
            }
            let application = builder.build().await.expect("the service starts");
            report
                .send((application.public_address(), application.ops_address()))
                .expect("the test waits");
            let stop = async {
                let _ = stopped.await;
            };
            application
                .run_until(stop, std::future::pending())
                .await
                .expect("the service ends well");
        });
    });
    let (public, ops) = addresses.recv().expect("the service starts");
    (public, ops, stop, thread)
}

async fn panics() -> &'static str {
    panic!("a fault in a handler");
}

/// The payload of a JWT, not verified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a JWT.
pub(crate) fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Value {
    use base64::Engine as _;
    let segment = token.split('.').nth(index).expect("a segment");
    let bytes =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(segment).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}
