//! A real PgBouncer in front of a Postgres.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::postgres::{host_and_port, url_through};

const START_LIMIT: Duration = Duration::from_secs(10);

/// A PgBouncer in a process of its own, on loopback; stopped when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl PgBouncer {
    /// The program, from `PATH` or `/usr/sbin`, where Debian has it.
    pub fn program() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        directories.map(|it| it.join("pgbouncer")).find(|it| it.is_file())
    }

    /// Starts one in front of the server of this URL, with this `pool_mode`, so many connections to each
    /// database, and the user and the password of the URL.
    ///
    /// # Panics
    /// If it does not listen within 10 s.
    pub async fn start(program: &Path, server_url: &str, mode: &str, connections: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [listen] = crate::free_addresses();
        let port = listen.port();
        let address = host_and_port(server_url);
        let (host, server_port) = address.rsplit_once(':').unwrap();
        let url: tokio_postgres::Config = server_url.parse().unwrap();
        let user = url.get_user().unwrap_or("postgres");
        let password = url.get_password().map(String::from_utf8_lossy).unwrap_or_default();
        let write = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let users = write("users.txt", format!("\"{user}\" \"{password}\"\n"));
        let settings = write(
            "pgbouncer.ini",
            format!(
                "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = trust\nauth_file = {}\npool_mode = {mode}\n\
                 default_pool_size = {connections}\nmax_client_conn = 200\n",
                users.display()
            ),
        );
        let mut command = Command::new(program);
        command.arg("-q").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = unprivileged() {
            let own = |path: &Path| chown(path, Some(uid), Some(gid)).unwrap();
            std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
            [directory.path(), &users, &settings].into_iter().for_each(own);
            command.uid(uid).gid(gid);
        }
        let child = command.spawn().unwrap();
        let pooler = Self { child, port, _directory: directory };
        let listening = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(START_LIMIT, listening).await.expect("a pooler");
        pooler
    }

    /// The URL of a database of the server, through the pooler.
    pub fn url(&self, database_url: &str) -> String {
        url_through(database_url, format!("127.0.0.1:{}", self.port))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The account for programs that do not run as root, such as PgBouncer and Postgres, where this process
/// is root's: its user and group.
///
/// # Panics
/// If the accounts of this machine cannot be read.
pub fn unprivileged() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let id = |name: &str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2).map(|field| field.parse().ok());
        Some((fields.next()??, fields.next()??))
    };
    id("postgres").or_else(|| id("nobody"))
}
