//! A real Postgres that knows its users by their certificates.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mintgate_domain::chain;
use mintgate_domain::ports::{StoreError, StoreHealth};
use mintgate_testkit::pgbouncer::unprivileged;
use openssl::x509::X509;

use crate::harness::{config, store};
use crate::tls::{Authority, authority, certificate, key};

/// Whoever is called `mintgate` may connect, with TLS and a certificate for this name.
const RULES: &str = "hostssl all mintgate 127.0.0.1/32 cert\n";

/// A server of its own in a directory of its own; both go with it.
struct Cluster {
    server: Child,
    port: u16,
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
        let notice = "SKIPPED: the test of client certificates; there is no Postgres server here.";
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

impl Cluster {
    /// Trusts this authority alone, and has a certificate of it itself; `None` without a server.
    async fn start(trusted: &Authority) -> Option<Self> {
        let bin = binaries()?;
        let directory = tempfile::tempdir().unwrap();
        let owned = |path: &Path| {
            if let Some((uid, gid)) = unprivileged() {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        };
        owned(directory.path());
        let data = directory.path().join("data");
        let mut initdb = program(&bin, "initdb");
        initdb.arg("-D").arg(&data).args(["-U", "mintgate", "-A", "trust", "-E", "UTF8", "-N"]);
        assert!(initdb.status().unwrap().success(), "initdb");
        let server_key = key();
        let own = certificate("localhost", &server_key, Some(trusted));
        for (name, text) in [
            ("server.key", server_key.private_key_to_pem_pkcs8().unwrap()),
            ("server.crt", own.to_pem().unwrap()),
            ("root.crt", trusted.certificate.to_pem().unwrap()),
            ("pg_hba.conf", RULES.as_bytes().to_vec()),
        ] {
            let path = data.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            owned(&path);
        }
        let [listen] = mintgate_testkit::free_addresses();
        let port = listen.port();
        let mut server = program(&bin, "postgres");
        server.arg("-D").arg(&data);
        for setting in [
            &format!("port={port}"),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "ssl=on",
            "ssl_ca_file=root.crt",
            "fsync=off",
        ] {
            server.args(["-c", setting]);
        }
        let cluster = Self { server: server.spawn().unwrap(), port, directory };
        // It listens before it lets anybody in; the eighth line of this file says when it does.
        let status = cluster.file("data/postmaster.pid");
        let is_ready = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            text.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        };
        let ready = async {
            while !is_ready() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ready).await.expect("a server");
        Some(cluster)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a certificate for this name; the parameters of an address that shows it.
    fn shown(&self, file: &str, name: &str, by: &Authority) -> String {
        let key = key();
        let certificate: X509 = certificate(name, &key, Some(by));
        let (cert_file, key_file) =
            (self.file(&format!("{file}.crt")), self.file(&format!("{file}.key")));
        std::fs::write(&cert_file, certificate.to_pem().unwrap()).unwrap();
        std::fs::write(&key_file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        format!("&sslcert={}&sslkey={}", cert_file.display(), key_file.display())
    }

    /// Connects with TLS, the server's own certificate checked, and makes the schema.
    async fn migrate(&self, shown: &str) -> Result<Vec<String>, StoreError> {
        let root = self.file("data/root.crt");
        let (port, root) = (self.port, root.display());
        let url = format!(
            "postgres://mintgate@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={root}{shown}"
        );
        let mut config = config(url);
        config.connect_timeout = Duration::from_secs(5);
        let store = store(&config);
        let done = store.migrate().await?;
        store.check().await?;
        Ok(done)
    }
}

/// What the log says of a connection that was refused.
fn refusal(result: Result<Vec<String>, StoreError>) -> String {
    let error = result.expect_err("it is refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    chain(&error).to_string()
}

#[tokio::test]
async fn the_server_knows_its_user_by_the_certificate_and_refusals_name_the_setting() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let Some(cluster) = Cluster::start(&ours).await else { return };

    let none = refusal(cluster.migrate("").await);
    assert!(none.contains("no client certificate") && none.contains("sslcert"), "{none}");
    let other = cluster.shown("other", "somebody else", &ours);
    let another_user = refusal(cluster.migrate(&other).await);
    let file = cluster.file("other.crt").display().to_string();
    assert!(another_user.contains(&file), "{another_user}");
    let foreign = cluster.shown("foreign", "mintgate", &theirs);
    let foreign_authority = refusal(cluster.migrate(&foreign).await);
    let file = cluster.file("foreign.crt").display().to_string();
    assert!(foreign_authority.contains(&file), "{foreign_authority}");

    let own = cluster.shown("own", "mintgate", &ours);
    assert!(!cluster.migrate(&own).await.unwrap().is_empty());
    assert_eq!(cluster.migrate(&own).await, Ok(vec![]), "the schema is there");
}
