//! TLS and client certificates on the operations listener, by the real binary.

use std::path::PathBuf;

use mintgate_testkit::tls::{Authority, Issued};
use reqwest::{Certificate, Client, Identity, Method, Response, StatusCode};
use serde_json::Value;

use crate::common::assert_error;
use crate::common::process::Process;

const NAME: &str = "ops.example.internal";
const USERS: &str = "/admin/v1/users";
const TOKENS: &str = "[admin]\nhosts = [\"ops.example.internal\"]\n";

/// A process whose operations listener speaks TLS and knows operators by their certificates.
struct Scene {
    process: Process,
    files: tempfile::TempDir,
    /// Has signed the listener's certificate.
    listener: Authority,
    /// Has signed those of operators.
    operators: Authority,
}

impl Scene {
    async fn set(scope: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (listener, operators) = (Authority::make(), Authority::make());
        let own = listener.issue(NAME);
        std::fs::write(files.path().join("cert.pem"), own.certificate).unwrap();
        std::fs::write(files.path().join("key.pem"), own.key).unwrap();
        std::fs::write(files.path().join("clients.pem"), operators.pem()).unwrap();
        let hash = mintgate_domain::TokenHash::of("writer").to_hex();
        let token = "[[admin.tokens]]\nname = \"on call\"\nscope = \"write\"";
        let more = format!("{TOKENS}{token}\nhash = \"{hash}\"");
        let variables = variables(&files, scope);
        let process = Process::start(&more, "", |command| {
            command.envs(variables);
        })
        .await;
        Self { process, files, listener, operators }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Puts a text in the place of a file, as tools for certificates do.
    fn replace(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn replace_pair(&self, own: &Issued) {
        self.replace("cert.pem", &own.certificate);
        self.replace("key.pem", &own.key);
    }

    /// A client that verifies the listener, and shows a certificate if it has one.
    fn client(&self, own: Option<&Issued>) -> Client {
        let authority = Certificate::from_pem(self.listener.pem().as_bytes()).unwrap();
        let client = Client::builder().tls_certs_only([authority]).resolve(NAME, self.process.ops);
        let client = match own {
            None => client,
            Some(own) => {
                let (certificate, key) = (own.certificate.as_bytes(), own.key.as_bytes());
                client.identity(Identity::from_pkcs8_pem(certificate, key).unwrap())
            }
        };
        client.build().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.process.ops.port())
    }

    async fn get(&self, client: &Client, path: &str) -> reqwest::Result<Response> {
        client.get(self.url(path)).send().await
    }

    /// Runs a command with the process's configuration; its exit code and what it printed.
    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.run_with(variables(&self.files, "read"), arguments).await
    }

    async fn run_with(
        &self,
        variables: [(&'static str, PathBuf); 4],
        arguments: &[&str],
    ) -> (Option<i32>, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mintgate"));
        command.env_clear().envs(variables).arg("--config").arg(self.process.config());
        let output = command.args(arguments).output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// The value of a series about the listener's certificate.
    async fn series(&self, name: &str) -> i64 {
        let metrics = self.process.ops("/metrics").await.unwrap().1;
        let start = format!("mintgate_tls_certificate_{name}{{listener=\"ops\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&start)).expect(name);
        value.parse().expect("a whole number")
    }
}

fn variables(files: &tempfile::TempDir, scope: &str) -> [(&'static str, PathBuf); 4] {
    let path = |name: &str| files.path().join(name);
    [
        ("MINTGATE__OPS__TLS_CERT_FILE", path("cert.pem")),
        ("MINTGATE__OPS__TLS_KEY_FILE", path("key.pem")),
        ("MINTGATE__OPS__CLIENT_CA_FILE", path("clients.pem")),
        ("MINTGATE__OPS__CLIENT_CERT_SCOPE", scope.into()),
    ]
}

#[tokio::test]
async fn a_client_certificate_lets_look_and_by_default_change_nothing() {
    let scene = Scene::set("read").await;
    let alice = scene.client(Some(&scene.operators.issue("alice")));
    let users = scene.get(&alice, USERS).await.unwrap();
    assert_eq!(users.status(), StatusCode::OK);
    let overview = scene.get(&alice, "/admin/v1/overview").await.unwrap();
    let overview: Value = overview.json().await.unwrap();
    let shown = serde_json::json!({"name": "alice", "kind": "certificate", "scope": "read"});
    assert_eq!(overview["token"], shown);
    let disable = || alice.post(scene.url(&format!("{USERS}/{}/disable", uuid::Uuid::nil())));
    let refused = disable().send().await.unwrap();
    assert_error(refused, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;

    // A token that is shown counts, and nothing else.
    let wrong = disable().bearer_auth("a guess").send().await.unwrap();
    assert_error(wrong, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    let nobody = disable().bearer_auth("writer").send().await.unwrap();
    assert_error(nobody, StatusCode::NOT_FOUND, "NOT_FOUND").await;

    // The browser shows the certificate for pages of anybody.
    let url = scene.url(USERS);
    let by_page = alice.get(&url).header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_error(by_page, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
    let by_page = disable().header("origin", "https://evil.example").send().await.unwrap();
    assert_error(by_page, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
    let rebound = alice.get(&url).header("host", "evil.example").send().await.unwrap();
    assert_error(rebound, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
}

#[tokio::test]
async fn whoever_shows_no_good_certificate_needs_a_token() {
    let scene = Scene::set("write").await;
    let stranger = scene.client(None);
    let refused = scene.get(&stranger, USERS).await.unwrap();
    assert_error(refused, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    let by_token = stranger.get(scene.url(USERS)).bearer_auth("writer").send().await.unwrap();
    assert_eq!(by_token.status(), StatusCode::OK);
    for path in ["/metrics", "/health/live", "/health/ready", "/", "/console/console.js"] {
        let answer = scene.get(&stranger, path).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    for other in [
        Authority::make().issue("alice"),
        scene.listener.issue("alice"),
        scene.operators.issue_expired("alice"),
    ] {
        let client = scene.client(Some(&other));
        let refused = scene.get(&client, USERS).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    let nameless = scene.client(Some(&scene.operators.issue("alice\u{1}")));
    let refused = scene.get(&nameless, USERS).await.unwrap();
    assert_error(refused, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
}

#[tokio::test]
async fn what_is_done_with_a_certificate_is_in_the_audit_log_under_its_name() {
    use diesel::prelude::*;
    let scene = Scene::set("write").await;
    let user = uuid::Uuid::from_u128(0x0192_f0c1_2b3c_7def_8abc_0123_4567_89ab);
    let database = scene.process.dir().join("mintgate.db");
    let mut store = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    let insert = "INSERT INTO users (id, granted_roles, created_at, session_epoch, \
        identity_epoch_floor) VALUES (?, '[]', 1, 0, 0)";
    let insert =
        diesel::sql_query(insert).bind::<diesel::sql_types::Binary, _>(user.as_bytes().to_vec());
    insert.execute(&mut store).unwrap();
    let alice = scene.client(Some(&scene.operators.issue("alice")));
    let disable = alice.request(Method::POST, scene.url(&format!("{USERS}/{user}/disable")));
    let disabled = disable.send().await.unwrap();
    assert_eq!(disabled.status(), StatusCode::OK, "{:?}", disabled.text().await);
    // It is written after the answer.
    let entry = loop {
        let (code, log) = scene.run(&["audit", "export"]).await;
        assert_eq!(code, Some(0), "{log}");
        let mut entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        if let Some(entry) = entries.find(|entry| entry["kind"] == "user_disabled") {
            break entry;
        }
    };
    assert_eq!(entry["actor"], "certificate:alice");
}

#[tokio::test]
async fn reload_and_doctor_ask_over_tls_and_believe_the_configured_certificate_alone() {
    let scene = Scene::set("read").await;
    assert_eq!(scene.series("last_reload_successful").await, 1);
    // By another authority: who verifies with the one before refuses it.
    let other = Authority::make().issue(NAME);
    let before = scene.client(None);
    scene.replace_pair(&other);
    let (code, text) = scene.run(&["reload"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(scene.get(&before, "/metrics").await.map(|it| it.status()).ok(), None);
    let (_, text) = scene.run(&["doctor", "--no-codes"]).await;
    assert!(text.contains("the service is ready"), "{text}");

    // Half a pair is not presented, and the command says what is wrong.
    scene.replace("cert.pem", &scene.listener.issue(NAME).certificate);
    let (code, text) = scene.run(&["reload"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is not that of the first certificate"), "{text}");
    assert_eq!(scene.series("last_reload_successful").await, 0);
    scene.replace("cert.pem", &other.certificate);
    let (code, text) = scene.run(&["reload"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(scene.series("last_reload_successful").await, 1);

    // Another listener than the configured one.
    let elsewhere = tempfile::tempdir().unwrap();
    let another = scene.listener.issue(NAME);
    for (name, text) in [
        ("cert.pem", another.certificate),
        ("key.pem", another.key),
        ("clients.pem", scene.operators.pem()),
    ] {
        std::fs::write(elsewhere.path().join(name), text).unwrap();
    }
    let (_, text) = scene.run_with(variables(&elsewhere, "read"), &["doctor", "--no-codes"]).await;
    assert!(text.contains("presents another certificate"), "{text}");
    assert!(!text.contains("the service is ready"), "{text}");
}

#[tokio::test]
async fn the_certificates_of_an_authority_that_is_taken_away_stop_counting_at_once() {
    let scene = Scene::set("read").await;
    let alice = scene.client(Some(&scene.operators.issue("alice")));
    assert_eq!(scene.get(&alice, USERS).await.unwrap().status(), StatusCode::OK);
    let others = Authority::make();
    scene.replace("clients.pem", &others.pem());
    let (code, text) = scene.run(&["reload"]).await;
    assert_eq!(code, Some(0), "{text}");
    // On the connection that there is, and on a new one.
    let refused = scene.get(&alice, USERS).await.unwrap();
    assert_eq!(refused.headers()["connection"], "close");
    assert_error(refused, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    assert!(scene.get(&alice, USERS).await.is_err());
    let bob = scene.client(Some(&others.issue("bob")));
    assert_eq!(scene.get(&bob, USERS).await.unwrap().status(), StatusCode::OK);
}
