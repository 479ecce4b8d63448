//! A Postgres for a command: the server that the environment names, or one of the command's own.

mod compose;
pub(crate) mod local;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Pid;
use tokio_postgres::NoTls;

use crate::process::until;
use compose::Compose;
use local::Cluster;

pub(crate) use compose::engine_answers;

/// The environment variable that names a server to use instead of starting one.
pub(crate) const URL_VARIABLE: &str = "MINTGATE_TEST_DATABASE_URL";

/// How long a server may take to start.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Whether a server must survive a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A commit waits for the disk, as in production.
    On,
    /// A commit does not wait for the disk, which is faster and enough for tests.
    Off,
}

impl Durability {
    /// The server's settings as `name=value`.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::On => &["max_connections=200"],
            Self::Off => &[
                "max_connections=200",
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ],
        }
    }
}

/// A running server; dropping it stops a server of the command's own.
pub(crate) struct Postgres {
    url: String,
    engine: Engine,
}

enum Engine {
    Given,
    Compose(Compose),
    Local(Cluster),
}

impl Postgres {
    /// The server that `$MINTGATE_TEST_DATABASE_URL` names, if it is set.
    pub(crate) async fn given() -> Result<Option<Self>> {
        let Some(url) = std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        answers(&url).await.with_context(|| format!("{URL_VARIABLE} is set, but"))?;
        Ok(Some(Self { url, engine: Engine::Given }))
    }

    /// Starts a server of the command's own: in a container if possible, else from local programs.
    pub(crate) async fn start_own(durability: Durability) -> Result<Self> {
        let no_container = match Self::start_compose(durability).await {
            Ok(server) => return Ok(server),
            Err(error) => error,
        };
        Self::start_local(durability).await.map_err(|no_binaries| {
            anyhow!(
                "no Postgres: set {URL_VARIABLE}, or install one (Debian: apt-get install \
                 postgresql), or start Docker\n  containers: {no_container:#}\n  \
                 local binaries: {no_binaries:#}"
            )
        })
    }

    /// Starts a server whose processes run on this machine, to be measured, stopped and killed.
    pub(crate) async fn start_on_this_machine() -> Result<Self> {
        Self::start_local(Durability::On).await.context(
            "this needs a Postgres server whose processes it may stop, from binaries on this \
             machine (Debian: apt-get install postgresql)",
        )
    }

    /// The first of the server's processes; an error unless they run on this machine.
    pub(crate) fn pid(&mut self) -> Result<Pid> {
        match &mut self.engine {
            Engine::Local(cluster) => Ok(cluster.server()?.pid()),
            Engine::Given | Engine::Compose(_) => {
                bail!("the server's processes do not run on this machine")
            }
        }
    }

    async fn start_compose(durability: Durability) -> Result<Self> {
        engine_answers().await?;
        let compose = Compose::start(durability).await?;
        let url = compose.url();
        Self { url, engine: Engine::Compose(compose) }.ready().await
    }

    async fn start_local(durability: Durability) -> Result<Self> {
        let mut cluster = Cluster::create(durability).await?;
        cluster.start()?;
        let url = cluster.url();
        Self { url, engine: Engine::Local(cluster) }.ready().await
    }

    /// The server's URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether the server is the command's own and may be killed.
    pub(crate) fn is_own(&self) -> bool {
        !matches!(self.engine, Engine::Given)
    }

    /// Where the server runs, in words.
    pub(crate) fn origin(&self) -> String {
        match &self.engine {
            Engine::Given => format!("given by {URL_VARIABLE}"),
            Engine::Compose(_) => "in a container".to_owned(),
            Engine::Local(cluster) => format!("from {}", cluster.binaries().display()),
        }
    }

    /// Stops the server as a crash does: connections are cut, nothing is flushed.
    pub(crate) async fn crash(&mut self) -> Result<()> {
        match &mut self.engine {
            Engine::Given => bail!("a server that was given is not this command's to stop"),
            Engine::Compose(compose) => compose.crash().await,
            Engine::Local(cluster) => cluster.crash().await,
        }
    }

    /// Starts the server again at the same address.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        match &mut self.engine {
            Engine::Given => {}
            Engine::Compose(compose) => compose.restart().await?,
            Engine::Local(cluster) => cluster.start()?,
        }
        self.wait_until_ready().await
    }

    async fn ready(mut self) -> Result<Self> {
        self.wait_until_ready().await?;
        Ok(self)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let sign = || answers(&self.url);
        match &mut self.engine {
            Engine::Local(cluster) => cluster.server()?.ready(START_LIMIT, sign).await,
            Engine::Given | Engine::Compose(_) => until(START_LIMIT, sign).await,
        }
    }
}

/// Connects; the connection lives as long as the client that is returned.
pub(crate) async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let connecting = tokio_postgres::connect(url, NoTls);
    let (client, connection) = tokio::time::timeout(Duration::from_secs(5), connecting)
        .await
        .map_err(|_| anyhow!("Postgres did not take a connection within 5 s"))?
        .context("Postgres did not take a connection")?;
    tokio::spawn(connection);
    Ok(client)
}

async fn answers(url: &str) -> Result<()> {
    connect(url).await?.simple_query("SELECT 1").await.context("Postgres does not answer")?;
    Ok(())
}
