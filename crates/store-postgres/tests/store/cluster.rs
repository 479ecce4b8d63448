//! A Postgres server of a test's own, for what must not be done to one that others use.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mintgate_testkit::pgbouncer::unprivileged;

/// A server in a directory of its own; both go with it.
pub(crate) struct Cluster {
    server: Child,
    bin: PathBuf,
    settings: Vec<String>,
    pub(crate) port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// The newest server's programs of Debian, else those of `pg_config`.
fn binaries() -> Option<PathBuf> {
    let has_server = |bin: &PathBuf| bin.join("initdb").is_file() && bin.join("postgres").is_file();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin")).filter(has_server).max();
    let found = debian.or_else(|| {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        let bin = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        has_server(&bin).then_some(bin)
    });
    if found.is_none() {
        use std::io::Write as _;
        let notice = "SKIPPED: a test with a Postgres server of its own; there is none here.";
        drop(writeln!(std::io::stderr(), "{notice}"));
    }
    found
}

fn program(bin: &Path, name: &str) -> Command {
    let mut command = Command::new(bin.join(name));
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Gives a file to the account of the server.
fn owned(path: &Path) {
    if let Some((uid, gid)) = unprivileged() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

fn run(bin: &Path, data: &Path, settings: &[String]) -> Child {
    let mut server = program(bin, "postgres");
    server.arg("-D").arg(data);
    for setting in settings {
        server.args(["-c", setting]);
    }
    server.spawn().unwrap()
}

impl Cluster {
    /// With these files in its directory and these settings; `None` without a server.
    pub(crate) async fn start(files: &[(&str, Vec<u8>)], settings: &[&str]) -> Option<Self> {
        let bin = binaries()?;
        let directory = tempfile::tempdir().unwrap();
        owned(directory.path());
        let data = directory.path().join("data");
        let mut initdb = program(&bin, "initdb");
        initdb.arg("-D").arg(&data).args(["-U", "mintgate", "-A", "trust", "-E", "UTF8", "-N"]);
        assert!(initdb.status().unwrap().success(), "initdb");
        for (name, content) in files {
            let path = data.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            owned(&path);
        }
        let [listen] = mintgate_testkit::free_addresses();
        let port = listen.port();
        let own = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
        ];
        let settings =
            own.into_iter().chain(settings.iter().map(|it| (*it).to_owned())).collect::<Vec<_>>();
        let server = run(&bin, &data, &settings);
        let cluster = Self { server, bin, settings, port, directory };
        cluster.until_ready().await;
        Some(cluster)
    }

    /// Stops it and starts it again as a standby, which has the same data and follows nobody.
    pub(crate) async fn become_standby(&mut self) {
        let pid = self.server.id().to_string();
        // SIGINT: connections are cut, and everything is written.
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.server.wait().unwrap();
        let data = self.file("data");
        std::fs::write(data.join("standby.signal"), "").unwrap();
        owned(&data.join("standby.signal"));
        self.server = run(&self.bin, &data, &self.settings);
        self.until_ready().await;
    }

    async fn until_ready(&self) {
        // It listens before it lets anybody in; the eighth line of this file says when it does.
        let status = self.file("data/postmaster.pid");
        let is_ready = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            text.lines().nth(7).is_some_and(|line| ["ready", "standby"].contains(&line.trim()))
        };
        let ready = async {
            while !is_ready() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ready).await.expect("a server");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
