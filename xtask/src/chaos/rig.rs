//! What an experiment runs on: the service in one or two processes, with fault proxies between the
//! clients and the service and between the service and its store.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mintgate_testkit::SeededEntropy;
use mintgate_testkit::fault_proxy::{FaultProxy, Protocol};
use mintgate_testkit::free_addresses;
use reqwest::Url;

use super::faults::Disk;
use super::plan::{Plan, Store};
use crate::database::Database;
use crate::postgres::Postgres;
use crate::process::tail;
use crate::rig::{Mock, REDIRECT_URI, Service, listeners, provider};

pub(super) const PROVIDER: &str = "mock";
/// The provider that `one-provider-paused` pauses.
pub(super) const PAUSED_PROVIDER: &str = "paused";
const PROVIDER_TIMEOUTS: &str = "connect_timeout_ms = 500\ntimeout_ms = 1500\n";
/// The size of a database's own disk: small enough to be filled quickly.
const DISK_BYTES: u64 = 8 << 20;
/// The key that replicas encrypt their shared signing keys under: 32 bytes in hexadecimal.
const ENCRYPTION_KEY: &str = "6d696e74676174652d6368616f732d6b65792d6f662d33322d62797465732121";

const NO_POSTGRES: &str = "there is no Postgres";

/// The programs and servers that experiments share which run one after another.
pub(super) struct Shared {
    pub(super) service: PathBuf,
    /// The program for the service's other commands; the one that serves may be a sabotaged one.
    pub(super) commands: PathBuf,
    /// The server, for experiments on Postgres.
    pub(super) postgres: Option<Postgres>,
    pub(super) mock: Mock,
    pub(super) paused: Mock,
    pub(super) seed: u64,
}

impl Shared {
    pub(super) fn postgres(&self) -> Result<&Postgres> {
        self.postgres.as_ref().context(NO_POSTGRES)
    }

    pub(super) fn postgres_mut(&mut self) -> Result<&mut Postgres> {
        self.postgres.as_mut().context(NO_POSTGRES)
    }
}

/// One experiment's service and store.
pub(super) struct Deployment {
    pub(super) replicas: Vec<Replica>,
    /// The proxy between the service and Postgres.
    pub(super) store_proxy: Option<FaultProxy>,
    pub(super) database: Option<Database>,
    pub(super) disk: Option<Disk>,
}

impl Deployment {
    /// Migrates a store and starts the service on it, until it is ready.
    pub(super) async fn start(shared: &Shared, plan: &Plan, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (mut database, mut store_proxy, mut disk) = (None, None, None);
        let url = match plan.store {
            Store::Postgres => {
                let made = Database::create(shared.postgres()?.url(), "chaos").await?;
                let mut url = Url::parse(&made.url)?;
                let port = url.port().context("Postgres' address has no port")?;
                let entropy = SeededEntropy::sequence(shared.seed, 1000);
                let upstream = format!("127.0.0.1:{port}");
                let proxy = FaultProxy::start_for(upstream, Protocol::Postgres, entropy).await;
                let set = url.set_port(Some(proxy.address().port()));
                ensure!(set.is_ok(), "Postgres' address takes no port");
                url.set_query(Some("sslmode=disable"));
                (database, store_proxy) = (Some(made), Some(proxy));
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
            replicas.push(Replica::configure(shared, plan, dir, &url, number).await?);
        }
        let mut deployment = Self { replicas, store_proxy, database, disk };
        let ready = async {
            let first = deployment.replicas.first().context("there is no replica")?;
            first.service.migrate_with(&shared.commands).await?;
            for replica in &mut deployment.replicas {
                replica.service.start().await?;
            }
            Ok(())
        };
        match ready.await {
            Ok(()) => Ok(deployment),
            Err(error) => {
                deployment.remove().await?;
                Err(error)
            }
        }
    }

    /// Ends the processes and removes the database.
    pub(super) async fn remove(self) -> Result<()> {
        drop(self.replicas);
        match self.database {
            Some(database) => database.remove().await,
            None => Ok(()),
        }
    }

    /// How many requests or answers all proxies have lost.
    pub(super) fn lost(&self) -> u64 {
        self.proxies().map(FaultProxy::lost).sum()
    }

    /// The addresses at which clients reach the replicas, through their proxies.
    pub(super) fn urls(&self) -> Vec<String> {
        let url = |replica: &Replica| format!("http://{}", replica.front.address());
        self.replicas.iter().map(url).collect()
    }

    /// The proxies before the replicas and before Postgres.
    pub(super) fn proxies(&self) -> impl Iterator<Item = &FaultProxy> {
        self.replicas.iter().map(|replica| &replica.front).chain(&self.store_proxy)
    }

    /// The end of every replica's log.
    pub(super) fn tail(&self) -> String {
        let tails = self.replicas.iter().map(|replica| tail(&replica.service.log()));
        tails.collect::<Vec<_>>().join("\n")
    }
}

/// One process of the service.
pub(super) struct Replica {
    pub(super) service: Service,
    /// The proxy between the clients and the service.
    pub(super) front: FaultProxy,
}

impl Replica {
    async fn configure(
        shared: &Shared,
        plan: &Plan,
        dir: &Path,
        store_url: &str,
        number: u64,
    ) -> Result<Self> {
        let addresses @ [public, _] = free_addresses();
        let keys = if plan.replicas > 1 {
            format!("encryption_key = \"{ENCRYPTION_KEY}\"")
        } else {
            "dir = \"keys\"".to_owned()
        };
        let config = [
            listeners(addresses, "http://127.0.0.1:8080"),
            format!("[store]\nurl = \"{store_url}\"\n"),
            "connect_timeout_ms = 1000\nstatement_timeout_ms = 2000\n\n".to_owned(),
            format!("[keys]\n{keys}\n\n[refresh]\n{}\n\n", plan.refresh),
            // All clients have one address, and codes that are spent are many.
            "[limits]\nrefused_sign_ins_per_minute = 0\n\n".to_owned(),
            "[tokens]\nbody_delivery = true\n\n".to_owned(),
            format!("[log]\nformat = \"json\"\nfilter = \"{}\"\n", plan.log_filter),
            provider(PROVIDER, &shared.mock.issuer, &[REDIRECT_URI], PROVIDER_TIMEOUTS),
            provider(PAUSED_PROVIDER, &shared.paused.issuer, &[REDIRECT_URI], PROVIDER_TIMEOUTS),
        ];
        let name = format!("mintgate-{}", number + 1);
        let service = Service::configure(&name, &shared.service, dir, &config.concat(), addresses)?;
        let entropy = SeededEntropy::sequence(shared.seed, 1001 + number);
        let front = FaultProxy::start_for(public.to_string(), Protocol::Http, entropy).await;
        Ok(Self { service, front })
    }
}
