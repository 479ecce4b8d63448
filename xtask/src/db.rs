//! `cargo xtask db …`: a Postgres for development that runs until `cargo xtask db down`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use mintgate_testkit::free_addresses;

use crate::postgres::local::{Tools, running_port, server_settings, url};
use crate::postgres::{connect, engine_answers};
use crate::process::capture;
use crate::{say, workspace};

/// The address that docker-compose.yml publishes.
const COMPOSE_URL: &str = "postgres://mintgate:mintgate@127.0.0.1:5432/mintgate";
const USUAL_PORT: u16 = 5432;
const LIMIT: Duration = Duration::from_mins(5);

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start it and print its address
    Up,
    /// Stop it and keep its data
    Down,
    /// Open psql on it
    Psql,
}

pub(crate) async fn run(action: Action) -> Result<()> {
    let database = if engine_answers().await.is_ok() {
        Database::Compose
    } else {
        Database::Local(Tools::find().context("no container engine answers, and")?)
    };
    match action {
        Action::Up => {
            let url = database.up().await?;
            say::line(&format!("db: {url}\n\n[store]\nurl = \"{url}\""));
            Ok(())
        }
        Action::Down => database.down().await,
        Action::Psql => database.psql(),
    }
}

enum Database {
    Compose,
    Local(Tools),
}

impl Database {
    async fn up(&self) -> Result<String> {
        match self {
            Self::Compose => {
                capture(compose().args(["up", "--detach", "--wait", "postgres"]), LIMIT).await?;
                Ok(COMPOSE_URL.to_owned())
            }
            Self::Local(tools) => local_up(tools).await,
        }
    }

    async fn down(&self) -> Result<()> {
        match self {
            Self::Compose => capture(compose().args(["stop", "postgres"]), LIMIT).await.map(drop),
            Self::Local(tools) => {
                let mut stop = tools.command("pg_ctl");
                capture(stop.arg("-D").arg(data()).args(["-w", "-m", "fast", "stop"]), LIMIT)
                    .await
                    .map(drop)
            }
        }
    }

    fn psql(&self) -> Result<()> {
        let error = match self {
            Self::Compose => {
                compose().args(["exec", "postgres", "psql", "-U", "mintgate", "mintgate"]).exec()
            }
            Self::Local(tools) => {
                let port = running_port(&data()).context("is it up? `cargo xtask db up`")?;
                tools.command("psql").arg(url(port)).exec()
            }
        };
        // `exec` returns only if it fails.
        bail!("psql cannot be started: {error}")
    }
}

async fn local_up(tools: &Tools) -> Result<String> {
    let data = data();
    let port = match running_port(&data) {
        // The file outlives a crash; only an answer proves that the server runs.
        Ok(port) if connect(&url(port)).await.is_ok() => return Ok(url(port)),
        Ok(_) | Err(_) => free_port(),
    };
    let home = home();
    fs::create_dir_all(&home)?;
    tools.give(&home)?;
    if !data.join("PG_VERSION").exists() {
        tools.initdb(&data).await?;
    }
    let settings =
        server_settings(port).iter().map(|setting| format!("-c {setting}")).collect::<Vec<_>>();
    let mut start = tools.command("pg_ctl");
    start.arg("-D").arg(&data).arg("-l").arg(home.join("log"));
    start.args(["-w", "-o", &settings.join(" "), "start"]);
    capture(&mut start, LIMIT)
        .await
        .with_context(|| format!("see {}", home.join("log").display()))?;
    Ok(url(port))
}

/// The usual port, or another one if that is taken.
fn free_port() -> u16 {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)).is_ok() {
        return USUAL_PORT;
    }
    let [address] = free_addresses();
    address.port()
}

fn home() -> PathBuf {
    workspace::root().join(".mintgate/postgres")
}

fn data() -> PathBuf {
    home().join("data")
}

fn compose() -> Command {
    let mut command = Command::new("docker");
    command.arg("compose").current_dir(workspace::root());
    command
}
