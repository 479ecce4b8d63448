//! What an experiment runs on: the service in one or two processes, with lines that can be spoilt
//! before it and before its store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Url;
use rustix::process::Signal;

use super::faults::Disk;
use super::plan::{Plan, Store};
use super::proxy::{Proxy, Speech};
use super::rng::Rng;
use crate::e2e::database::Database;
use crate::e2e::rig::{CLIENT_ID, CLIENT_SECRET, Mock, REDIRECT_URI, plain};
use crate::postgres::Postgres;
use crate::process::{Process, capture, free_addresses};

const START_LIMIT: Duration = Duration::from_secs(30);
/// Where a database on a disk of its own is: enough for a session's life, soon full.
const DISK_BYTES: u64 = 8 << 20;
/// For all replicas of an experiment that share their keys: 32 bytes in hexadecimal.
const ENCRYPTION_KEY: &str = "6d696e74676174652d6368616f732d6b65792d6f662d33322d62797465732121";

/// What all experiments share.
pub(super) struct Lab {
    pub(super) service: PathBuf,
    /// The service's other commands, whichever program serves.
    pub(super) commands: PathBuf,
    pub(super) postgres: Postgres,
    pub(super) mock: Mock,
    pub(super) seed: u64,
}

/// One experiment's service and store.
pub(super) struct Site {
    pub(super) replicas: Vec<Replica>,
    /// Between the service and Postgres.
    pub(super) store_line: Option<Proxy>,
    pub(super) database: Option<Database>,
    pub(super) disk: Option<Disk>,
}

impl Site {
    /// A migrated store, and the service on it, ready.
    pub(super) async fn set(lab: &Lab, plan: &Plan, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (mut database, mut store_line, mut disk) = (None, None, None);
        let url = match plan.store {
            Store::Postgres => {
                let made = Database::create(lab.postgres.url(), "chaos").await?;
                let mut url = Url::parse(&made.url)?;
                let port = url.port().context("Postgres' address has no port")?;
                let upstream = SocketAddr::from(([127, 0, 0, 1], port));
                let rng = Rng::of(lab.seed, 1000);
                let line = Proxy::start(upstream, Speech::Postgres, rng).await?;
                let set = url.set_port(Some(line.address().port()));
                ensure!(set.is_ok(), "Postgres' address takes no port");
                url.set_query(Some("sslmode=disable"));
                (database, store_line) = (Some(made), Some(line));
                url.to_string()
            }
            Store::Sqlite => format!("sqlite://{}", dir.join("mintgate.db").display()),
            Store::SqliteOnDiskOfItsOwn => {
                let made = disk.insert(Disk::mount(&dir.join("disk"), DISK_BYTES)?);
                format!("sqlite://{}", made.path().join("mintgate.db").display())
            }
        };
        let mut replicas = Vec::new();
        for number in 0..plan.replicas {
            replicas.push(Replica::configure(lab, plan, dir, &url, number).await?);
        }
        let mut site = Self { replicas, store_line, database, disk };
        let ready = async {
            site.replicas.first().context("there is no replica")?.migrate(lab).await?;
            for replica in &mut site.replicas {
                replica.spawn()?;
                replica.ready().await?;
            }
            Ok(())
        };
        match ready.await {
            Ok(()) => Ok(site),
            Err(error) => {
                site.clear().await?;
                Err(error)
            }
        }
    }

    /// Takes the processes and the database away.
    pub(super) async fn clear(self) -> Result<()> {
        drop(self.replicas);
        match self.database {
            Some(database) => database.remove().await,
            None => Ok(()),
        }
    }

    /// How many answers, or requests, have got lost on all lines.
    pub(super) fn lost(&self) -> u64 {
        let fronts = self.replicas.iter().map(|replica| replica.front.lost());
        fronts.sum::<u64>() + self.store_line.as_ref().map_or(0, Proxy::lost)
    }

    /// The end of every replica's log.
    pub(super) fn tail(&self) -> String {
        self.replicas.iter().map(Replica::tail).collect::<Vec<_>>().join("\n")
    }
}

/// One process of the service.
pub(super) struct Replica {
    name: String,
    process: Option<Process>,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    ops: SocketAddr,
    /// Between the clients and this.
    pub(super) front: Proxy,
    http: reqwest::Client,
}

impl Replica {
    async fn configure(
        lab: &Lab,
        plan: &Plan,
        dir: &Path,
        store_url: &str,
        number: u64,
    ) -> Result<Self> {
        let name = format!("mintgate-{}", number + 1);
        let [public, ops] = free_addresses()?;
        let front = Proxy::start(public, Speech::Http, Rng::of(lab.seed, 1001 + number)).await?;
        let config = dir.join(format!("{name}.toml"));
        let text = config_text(plan, public, ops, store_url, &lab.mock.issuer);
        std::fs::write(&config, text)?;
        Ok(Self {
            process: None,
            program: lab.service.clone(),
            config,
            log: dir.join(format!("{name}.log")),
            name,
            ops,
            front,
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(5))
                .pool_max_idle_per_host(0)
                .build()?,
        })
    }

    fn command(&self, program: &Path, subcommand: &str) -> Command {
        let dir = self.config.parent().unwrap_or(Path::new("/"));
        let mut command = plain(program, dir);
        command.arg(subcommand).arg("--config").arg(&self.config);
        command
    }

    async fn migrate(&self, lab: &Lab) -> Result<()> {
        capture(&mut self.command(&lab.commands, "migrate"), START_LIMIT).await.map(drop)
    }

    /// Where clients reach it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.front.address())
    }

    pub(super) fn spawn(&mut self) -> Result<()> {
        let mut command = self.command(&self.program, "serve");
        self.process = Some(Process::logged(&self.name, &mut command, &self.log)?);
        Ok(())
    }

    pub(super) async fn ready(&mut self) -> Result<()> {
        let url = format!("http://{}/health/ready", self.ops);
        let http = &self.http;
        let ready = || async {
            http.get(&url).send().await?.error_for_status()?;
            Ok(())
        };
        self.process.as_mut().context("it was not started")?.ready(START_LIMIT, ready).await
    }

    /// Kills it where it stands.
    pub(super) async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL)?;
            process.wait_at_most(START_LIMIT).await?;
        }
        Ok(())
    }

    fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }
}

fn config_text(
    plan: &Plan,
    public: SocketAddr,
    ops: SocketAddr,
    store_url: &str,
    mock: &str,
) -> String {
    let keys = if plan.replicas > 1 {
        format!("encryption_key = \"{ENCRYPTION_KEY}\"")
    } else {
        "dir = \"keys\"".to_owned()
    };
    let refresh = plan.refresh;
    format!(
        r#"[server]
listen = "{public}"
public_url = "http://127.0.0.1:8080"

[ops]
listen = "{ops}"

[store]
url = "{store_url}"
connect_timeout_ms = 1000
statement_timeout_ms = 2000

[tokens]
body_delivery = true

[keys]
{keys}

[refresh]
{refresh}

[log]
format = "json"

[[providers]]
id = "mock"
issuer = "{mock}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
redirect_uris = ["{REDIRECT_URI}"]
connect_timeout_ms = 500
timeout_ms = 1500
"#
    )
}
