//! The shipped binary as a process of its own, for what a test must not do to its own process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mintgate::commands;
use mintgate_testkit::free_addresses;
use reqwest::StatusCode;

/// `mintgate serve` with a provider that nobody asks.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) ops: SocketAddr,
    /// Whether the operations listener speaks TLS.
    ops_tls: bool,
    dir: tempfile::TempDir,
}

impl Process {
    /// Starts it on SQLite with these sections of the file besides, and waits until it is ready. `shell` is
    /// run by `sh` before it, in the same process, and `prepare` may change the command.
    pub(crate) async fn start(more: &str, shell: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        Self::start_with_keys("", more, shell, prepare).await
    }

    /// The same with these lines of the section `[keys]` besides.
    pub(crate) async fn start_with_keys(
        keys: &str,
        more: &str,
        shell: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store_url = format!("sqlite://{}/mintgate.db", dir.path().display());
        let keys = format!("dir = \"{}/keys\"\n{keys}", dir.path().display());
        let process = Self::begin(dir, &store_url, &keys, more, shell, prepare).await;
        process.until_ready().await;
        process
    }

    /// Starts it as one of several with this issuer, on this store and with these lines of the section
    /// `[keys]`; without lines, with keys in a directory of its own. Waits for nothing.
    pub(crate) async fn beside(store_url: &str, issuer: &str, keys: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let own = format!("dir = \"{}/keys\"", dir.path().display());
        let keys = if keys.is_empty() { &own } else { keys };
        let more = format!("[tokens]\nissuer = \"{issuer}\"");
        let output = std::fs::File::create(dir.path().join("output")).expect("a file");
        let copy = output.try_clone().expect("a file");
        Self::begin(dir, store_url, keys, &more, "", |command| {
            command.stdout(copy).stderr(output);
        })
        .await
    }

    /// The path of the process's configuration file.
    pub(crate) fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("mintgate.toml")
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).expect("a file")
    }

    async fn begin(
        dir: tempfile::TempDir,
        store_url: &str,
        keys: &str,
        more: &str,
        shell: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let [public, ops] = free_addresses();
        let text = format!(
            "{more}\n[server]\nlisten = \"{public}\"\npublic_url = \"http://{public}\"\nworkers = 1\n\
             [ops]\nlisten = \"{ops}\"\n[store]\nurl = \"{store_url}\"\n\
             [keys]\n{keys}\n[[providers]]\nid = \"corp\"\nissuer = \"http://127.0.0.1:9\"\n\
             client_id = \"mintgate\"\nclient_secret = \"secret\"\nredirect_uris = [\"http://localhost/cb\"]\n"
        );
        commands::migrate(&super::settings(&text).store).await.expect("the schema is made");
        Self::spawn(dir, &text, [public, ops], shell, prepare)
    }

    /// Starts it beside a service that runs in the test's own process: with this configuration of its, the
    /// same store and the same keys. Waits until it is ready.
    pub(crate) async fn replica(text: &str) -> Self {
        let addresses = free_addresses();
        let text = addresses.iter().fold(text.to_owned(), |text, address| {
            text.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""), 1)
        });
        let dir = tempfile::tempdir().expect("a directory");
        let process = Self::spawn(dir, &text, addresses, "", |_| ());
        process.until_ready().await;
        process
    }

    fn spawn(
        dir: tempfile::TempDir,
        text: &str,
        [public, ops]: [SocketAddr; 2],
        shell: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let file = dir.path().join("mintgate.toml");
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell}\nexec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_mintgate")).arg("--config").arg(file).arg("serve");
        command.env_clear().stdout(Stdio::null()).stderr(Stdio::inherit());
        prepare(&mut command);
        let ops_tls = command.get_envs().any(|(name, _)| name == "MINTGATE__OPS__TLS_CERT_FILE");
        let child = command.spawn().expect("it starts");
        Self { child, public, ops, ops_tls, dir }
    }

    /// A directory that goes with it; the database is `mintgate.db`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The status and the body of an answer of the operations listener, on a connection of its own.
    pub(crate) async fn ops(&self, path: &str) -> reqwest::Result<(StatusCode, String)> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10));
        let client = client.tls_danger_accept_invalid_certs(self.ops_tls).build()?;
        let scheme = if self.ops_tls { "https" } else { "http" };
        let answer = client.get(format!("{scheme}://{}{path}", self.ops)).send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    pub(crate) async fn until_ready(&self) {
        for _ in 0..300 {
            if self.ops("/health/ready").await.is_ok_and(|(status, _)| status == StatusCode::OK) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it is never ready");
    }

    /// A number of `/proc/PID/status`, such as `VmHWM`, the most memory that it had, in KiB.
    pub(crate) fn status(&self, key: &str) -> u64 {
        let text = self.proc("status");
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("{key}: {text}"))
    }

    /// The text of a file in `/proc/PID`.
    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("it runs")
    }

    /// Sends the signal of this name.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        assert!(kill.args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits until it has ended, for so many seconds; its exit code.
    pub(crate) async fn exit_code(&mut self, seconds: u32) -> Option<i32> {
        for _ in 0..seconds * 20 {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it goes on for {seconds} s");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
