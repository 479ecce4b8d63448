//! A throw-away cluster from the machine's own Postgres binaries.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mintgate_testkit::free_addresses;
use rustix::process::Signal;
use tempfile::TempDir;

use super::Durability;
use crate::process::{Process, capture};
use crate::workspace;

const INITDB_LIMIT: Duration = Duration::from_mins(2);
const CRASH_LIMIT: Duration = Duration::from_secs(10);

/// A cluster in a temporary directory, on a free port of the loopback interface.
pub(crate) struct Cluster {
    // Dropped in this order: the server before its files.
    server: Option<Process>,
    tools: Tools,
    address: SocketAddr,
    durability: Durability,
    dir: TempDir,
}

impl Cluster {
    pub(super) async fn create(durability: Durability) -> Result<Self> {
        let tools = Tools::find()?;
        let [address] = free_addresses();
        let dir = tempfile::Builder::new().prefix("mintgate-postgres-").tempdir()?;
        tools.give(dir.path())?;
        tools.initdb(&dir.path().join("data")).await?;
        Ok(Self { server: None, tools, address, durability, dir })
    }

    pub(super) fn start(&mut self) -> Result<()> {
        let mut command = self.tools.command("postgres");
        command.arg("-D").arg(self.dir.path().join("data"));
        let port = self.address.port();
        for setting in server_settings(port).iter().map(String::as_str) {
            command.args(["-c", setting]);
        }
        for setting in self.durability.settings() {
            command.args(["-c", setting]);
        }
        let log = self.dir.path().join("log");
        // SIGQUIT is the "immediate" stop: no checkpoint, connections are cut.
        self.server =
            Some(Process::logged("postgres", &mut command, &log)?.stopped_by(Signal::QUIT));
        Ok(())
    }

    pub(super) async fn crash(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::QUIT)?;
            server.wait_at_most(CRASH_LIMIT).await?;
        }
        Ok(())
    }

    pub(super) fn url(&self) -> String {
        url(self.address.port())
    }

    pub(super) fn binaries(&self) -> &Path {
        &self.tools.binaries
    }

    /// The running server.
    pub(super) fn server(&mut self) -> Result<&mut Process> {
        self.server.as_mut().context("the server was not started")
    }
}

/// The address of a cluster made by [`Tools::initdb`].
pub(crate) fn url(port: u16) -> String {
    format!("postgres://mintgate@127.0.0.1:{port}/postgres")
}

/// The settings of every cluster, as `name=value`: loopback only, no socket file.
pub(crate) fn server_settings(port: u16) -> [String; 3] {
    [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
    ]
}

/// Postgres' programs, and the account they run under.
pub(crate) struct Tools {
    binaries: PathBuf,
    account: Option<Account>,
}

impl Tools {
    /// Finds Debian's newest version, else that of the `pg_config` in `PATH`.
    pub(crate) fn find() -> Result<Self> {
        let binaries = debian_binaries()
            .or_else(pg_config_binaries)
            .context("no Postgres server in /usr/lib/postgresql, no pg_config in PATH")?;
        // Postgres refuses to run as root.
        let account = if rustix::process::geteuid().is_root() {
            let users = fs::read_to_string("/etc/passwd")?;
            let found = ["postgres", "nobody"].iter().find_map(|name| Account::find(&users, name));
            Some(found.context("Postgres will not run as root, and there is no other user")?)
        } else {
            None
        };
        Ok(Self { binaries, account })
    }

    /// A command for one of the programs, run under the account.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir("/").env_remove("PGDATA").env("LC_ALL", "C");
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Makes the account the owner of a directory.
    pub(crate) fn give(&self, dir: &Path) -> Result<()> {
        if let Some(account) = &self.account {
            chown(dir, Some(account.uid), Some(account.gid))?;
        }
        Ok(())
    }

    /// Makes a cluster whose superuser is `mintgate`, without a password on loopback.
    pub(crate) async fn initdb(&self, data: &Path) -> Result<()> {
        let mut command = self.command("initdb");
        command.arg("-D").arg(data).args(["-U", "mintgate", "-A", "trust", "-E", "UTF8", "-N"]);
        capture(command.arg("--locale=C"), INITDB_LIMIT).await.context("initdb")?;
        Ok(())
    }
}

fn debian_binaries() -> Option<PathBuf> {
    newest(fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path()))
        .map(|version| version.join("bin"))
}

/// The directory of the highest version that has a server.
fn newest(versions: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let version = |path: &PathBuf| -> Option<Vec<u32>> {
        path.file_name()?.to_str()?.split('.').map(|part| part.parse().ok()).collect()
    };
    versions.filter(|path| has_server(&path.join("bin"))).max_by_key(version)
}

fn pg_config_binaries() -> Option<PathBuf> {
    let output =
        Command::new(workspace::find_program(&["pg_config"])?).arg("--bindir").output().ok()?;
    let bin = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    has_server(&bin).then_some(bin)
}

fn has_server(bin: &Path) -> bool {
    ["initdb", "postgres", "pg_ctl"].iter().all(|program| bin.join(program).is_file())
}

/// The ids of an account of this machine.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// Finds an account by its name in the text of `/etc/passwd`.
    fn find(users: &str, name: &str) -> Option<Self> {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next()? != name {
                return None;
            }
            let (uid, gid) = (fields.nth(1)?, fields.next()?);
            Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        })
    }
}

/// The port of a running cluster: line 4 of its `postmaster.pid`.
pub(crate) fn running_port(data: &Path) -> Result<u16> {
    let file = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else { bail!("{} cannot be read", file.display()) };
    let port = text.lines().nth(3).context("postmaster.pid has no port")?;
    Ok(port.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_the_highest_number_not_the_last_name() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9.6", "15", "9.10", "common"] {
            let bin = dir.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for program in ["initdb", "postgres", "pg_ctl"] {
                fs::write(bin.join(program), "").unwrap();
            }
        }
        fs::create_dir_all(dir.path().join("17/bin")).unwrap();
        let versions = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.path());
        assert_eq!(newest(versions), Some(dir.path().join("15")), "17 has only a client");
    }

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:\npostgres:x:101:104::/:\n";
        assert_eq!(Account::find(users, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(Account::find(users, "postgre"), None);
    }

    #[test]
    fn the_port_is_read_from_the_pid_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("postmaster.pid"), "4711\n/data\n1700000000\n5433\n").unwrap();
        assert_eq!(running_port(dir.path()).unwrap(), 5433);
    }
}
