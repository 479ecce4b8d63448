//! An installation as it should be: the shipped binary, a store, a provider, and what `doctor` says of it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mintgate_domain::ports::Clock;
use mintgate_mock_idp::{MockConfig, MockIdp};
use mintgate_testkit::postgres::TestDatabase;
use serde_json::Value;
use time::OffsetDateTime;

/// The clock of a machine that is two minutes late.
pub(crate) struct Late;

impl Clock for Late {
    #[expect(clippy::disallowed_methods, reason = "everybody else has the machine's clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() - Duration::from_mins(2)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// An installation that runs.
pub(crate) struct Rig {
    pub(crate) idp: MockIdp,
    pub(crate) public: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) text: String,
    services: Vec<Child>,
    dir: tempfile::TempDir,
}

/// What `mintgate doctor` said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) findings: Vec<Value>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The checks with this verdict, each once, in alphabetical order.
    fn checks(&self, verdict: &str) -> Vec<&str> {
        let mut checks: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding["verdict"] == verdict)
            .map(|finding| finding["check"].as_str().unwrap())
            .collect();
        checks.sort_unstable();
        checks.dedup();
        checks
    }

    pub(crate) fn wrong(&self) -> Vec<&str> {
        self.checks("wrong")
    }

    pub(crate) fn cannot_be_told(&self) -> Vec<&str> {
        self.checks("cannot_be_told")
    }

    /// The findings of a check.
    pub(crate) fn of(&self, check: &str) -> Vec<&Value> {
        self.findings.iter().filter(|finding| finding["check"] == check).collect()
    }

    /// Requires that this one check and no other is wrong, and that the finding says what to do.
    #[track_caller]
    pub(crate) fn must_only_find(&self, check: &str) {
        assert_eq!(self.wrong(), [check], "{self:#?}");
        assert_eq!(self.code, 1);
        for finding in self.of(check).iter().filter(|finding| finding["verdict"] == "wrong") {
            for part in ["what", "why", "fix"] {
                assert!(!finding[part].as_str().unwrap().is_empty(), "{finding}");
            }
        }
    }
}

impl Rig {
    /// On a file.
    pub(crate) async fn start() -> Self {
        Self::start_with(MockConfig::default(), |text| text).await
    }

    /// On a file, with this provider and with the configuration that `change` makes of the good one.
    pub(crate) async fn start_with(
        mock: MockConfig,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let mut rig = Self::prepare(mock, None).await;
        rig.text = change(std::mem::take(&mut rig.text));
        rig.migrate();
        rig.serve().await;
        rig
    }

    /// On Postgres.
    pub(crate) async fn start_on(database: &TestDatabase) -> Self {
        let mut rig = Self::prepare(MockConfig::default(), Some(database.url())).await;
        rig.serve().await;
        rig
    }

    /// An installation that has never been started.
    pub(crate) async fn prepare(mock: MockConfig, store_url: Option<String>) -> Self {
        let idp = MockIdp::start(mock).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let [public, ops] = free_addresses();
        let file = dir.path().join("mintgate.db");
        let store_url = store_url.unwrap_or_else(|| format!("sqlite://{}", file.display()));
        let text = format!(
            r#"
[server]
listen = "{public}"
public_url = "http://{public}"
workers = 1
[ops]
listen = "{ops}"
[store]
url = "{store_url}"
[keys]
encryption_key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
dir = "{dir}/keys"
[cookies]
secure = false
[cors]
allowed_origins = ["http://127.0.0.1:3000"]
[[providers]]
id = "corp"
issuer = "{issuer}"
client_id = "mintgate"
client_secret = "mintgate-dev-secret"
redirect_uris = ["http://127.0.0.1:3000/callback"]
pkce = "required"
nonce = "required"
id_token_algs = ["RS256"]
"#,
            dir = dir.path().display(),
            issuer = idp.issuer(),
        );
        Self { idp, public, ops, text, services: Vec::new(), dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The database, if it is a file.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir().join("mintgate.db")
    }

    pub(crate) fn migrate(&self) {
        let done = self.command(&self.text, &["migrate"]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts the service and waits until it is ready.
    pub(crate) async fn serve(&mut self) {
        let text = self.text.clone();
        self.serve_as(&text, self.ops).await;
    }

    /// Starts another service, with this configuration, and waits until it is ready.
    pub(crate) async fn serve_as(&mut self, text: &str, ops: SocketAddr) {
        let mut command = self.command(text, &["serve"]);
        command.stdout(Stdio::null());
        self.services.push(command.spawn().unwrap());
        let client = reqwest::Client::new();
        for _ in 0..600 {
            let ended = self.services.last_mut().and_then(|service| service.try_wait().unwrap());
            assert!(ended.is_none(), "it has ended: {ended:?}");
            let answer = client.get(format!("http://{ops}/health/ready")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it is never ready");
    }

    /// Kills the services.
    pub(crate) fn stop(&mut self) {
        for mut service in self.services.drain(..) {
            drop(service.kill());
            drop(service.wait());
        }
    }

    /// What `doctor` says of the installation as it is.
    pub(crate) async fn doctor(&self) -> Said {
        self.doctor_of(&self.text, &[]).await
    }

    /// What `doctor` says if this part of the configuration is replaced by that.
    pub(crate) async fn doctor_with(&self, part: &str, by: &str) -> Said {
        assert!(self.text.contains(part), "{part}");
        self.doctor_of(&self.text.replace(part, by), &[]).await
    }

    /// What `doctor` says with this configuration and these arguments.
    pub(crate) async fn doctor_of(&self, text: &str, arguments: &[&str]) -> Said {
        let arguments = [&["doctor", "--json"], arguments].concat();
        let mut command = self.command(text, &arguments);
        said(tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap())
    }

    /// The binary with this configuration.
    pub(crate) fn command(&self, text: &str, arguments: &[&str]) -> Command {
        let file = tempfile::Builder::new().suffix(".toml").tempfile_in(self.dir()).unwrap();
        let (_, path) = file.keep().unwrap();
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mintgate"));
        command.env_clear().arg("--config").arg(path).args(arguments);
        command
    }
}

/// What a run of `mintgate doctor --json` said.
pub(crate) fn said(output: std::process::Output) -> Said {
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code().unwrap();
    let findings = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    Said { code, findings, out, err }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// A database with the schema; `None` if there is no server for tests.
pub(crate) async fn database() -> Option<TestDatabase> {
    if !mintgate_testkit::postgres::is_given() {
        return None;
    }
    let migrate = |url| async move {
        let text = format!("[store]\nurl = \"{url}\"\n");
        let configuration = mintgate::settings::Configuration::from_toml(&text).unwrap();
        mintgate::commands::migrate(&configuration.store().unwrap()).await.unwrap();
    };
    Some(TestDatabase::create(migrate).await)
}
