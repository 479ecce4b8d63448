//! `cargo xtask e2e`: the shipped binary as a process, against real Postgres, SQLite and the mock
//! provider, over real HTTP.

mod back_ends;
mod basics;
mod browser;
mod console;
mod consumers;
mod cross_site;
mod dev;
mod faults;
mod frontends;
mod login;
mod native;
mod pooled;
mod proxied;
mod reaching;
mod recorder;
mod session;
mod shutdown;
mod single;
mod stage;
mod steps;
mod webdriver;

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::database::Database;
use crate::postgres::{Durability, Postgres, URL_VARIABLE};
use crate::rig::Binaries;
use crate::say;
use recorder::Recorder;
use stage::Stage;
use steps::Steps;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Keep the directory with configurations, keys and logs
    #[arg(long)]
    keep: bool,
    /// Leave out the steps that need a browser
    #[arg(long)]
    no_browser: bool,
    /// Also run what uses Mintgate from outside: the recipes of docs/verifying.md, the gateways of deploy/gateways, the
    /// examples, and the tests of sdk/typescript; needs Node, Python, Go, Java, Maven, Chromium and the internet
    #[arg(long)]
    consumers: bool,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let walked = walk(options, &Binaries::build().await?).await;
    match &walked {
        Ok(summary) => say::line(&format!("e2e: ok ({summary})")),
        Err(_) => say::line("e2e: FAILED"),
    }
    walked.map(drop)
}

/// Runs all steps; returns a summary.
pub(crate) async fn walk(options: &Options, binaries: &Binaries) -> Result<String> {
    let dir = tempfile::Builder::new().prefix("mintgate-e2e-").tempdir()?;
    let mut steps = Steps::default();
    let walked = sections(options, &mut steps, binaries, dir.path()).await;
    if options.keep {
        say::line(&format!("e2e: kept {}", dir.keep().display()));
    }
    walked?;
    steps.finish()
}

async fn sections(
    options: &Options,
    steps: &mut Steps,
    binaries: &Binaries,
    dir: &Path,
) -> Result<()> {
    let mut postgres = server().await?;
    Steps::section(&format!("the service on Postgres ({})", postgres.origin()));
    let database = Database::create(postgres.url(), "e2e").await?;
    let walked =
        on_postgres(steps, binaries, &dir.join("postgres"), &mut postgres, &database).await;
    let removed = database.remove().await;
    walked?;
    removed?;

    Steps::section("the service on Postgres behind PgBouncer");
    pooled::walk(steps, binaries, &dir.join("pooled"), postgres.url()).await?;
    drop(postgres);

    Steps::section("the service on SQLite");
    on_sqlite(steps, binaries, &dir.join("sqlite")).await?;

    Steps::section("the back ends of apps");
    back_ends::walk(steps, binaries, &dir.join("back-ends")).await?;

    Steps::section("behind nginx, below a path");
    proxied::walk(steps, binaries, &dir.join("proxied")).await?;

    Steps::section("providers that are not simply there");
    reaching::walk(steps, binaries, &dir.join("reaching")).await?;

    Steps::section("the front ends of docs/frontend.md");
    frontends::walk(steps, binaries, &dir.join("frontends"), options).await?;

    Steps::section("a page of another site than the service");
    cross_site::walk(steps, binaries, &dir.join("cross-site"), !options.no_browser).await?;

    Steps::section("the console");
    console::walk(steps, binaries, &dir.join("console"), !options.no_browser).await?;

    Steps::section("mintgate dev");
    dev::walk(steps, binaries, &dir.join("dev"), !options.no_browser).await?;

    if options.consumers {
        Steps::section("services, gateways and pages of others");
        consumers::walk(steps, binaries).await?;
    }
    Ok(())
}

/// A server that may be killed if one can be started, else the one that the environment names.
async fn server() -> Result<Postgres> {
    match Postgres::start_own(Durability::On).await {
        Ok(server) => Ok(server),
        Err(none) => Postgres::given().await?.with_context(|| format!("{none:#}")),
    }
}

async fn on_postgres(
    steps: &mut Steps,
    binaries: &Binaries,
    dir: &Path,
    postgres: &mut Postgres,
    database: &Database,
) -> Result<()> {
    let mut stage = Stage::set(steps, binaries, dir, &database.url).await?;
    let walked = async {
        basics::walk(steps, &stage, Some(database)).await?;
        session::walk(steps, &stage).await?;
        faults::hanging_provider(steps, &stage).await?;
        if postgres.is_own() {
            faults::database_crash(steps, &stage, postgres, database).await?;
        } else {
            let reason = format!("the server of {URL_VARIABLE} is not this command's to kill");
            steps.not_run("Postgres dies and comes back", &reason);
        }
        shutdown::walk(steps, &mut stage).await?;
        session::keys(steps, &stage).await?;
        let dump =
            async { stage.caller.recorder.check_absent("the database", &database.dump().await?) };
        steps.step("the database holds no secret in clear", dump).await
    };
    let walked = walked.await;
    stage.explain_failure(walked)
}

async fn on_sqlite(steps: &mut Steps, binaries: &Binaries, dir: &Path) -> Result<()> {
    let file = dir.join("mintgate.db");
    let url = format!("sqlite://{}", file.display());
    let mut stage = Stage::set(steps, binaries, dir, &url).await?;
    let walked = async {
        basics::walk(steps, &stage, None).await?;
        session::walk(steps, &stage).await?;
        faults::hanging_provider(steps, &stage).await?;
        shutdown::walk(steps, &mut stage).await?;
        session::keys(steps, &stage).await?;
        let name = "the database holds no secret in clear";
        steps.step(name, async { nothing_in_files(&stage.caller.recorder, &file) }).await
    };
    let walked = walked.await;
    stage.explain_failure(walked)
}

/// Looks for secrets in the SQLite database and the files beside it.
fn nothing_in_files(recorder: &Recorder, file: &Path) -> Result<()> {
    let Some(dir) = file.parent() else { bail!("the database has no directory") };
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&name) {
            let bytes = std::fs::read(entry.path())?;
            recorder.check_absent("the database", &String::from_utf8_lossy(&bytes))?;
        }
    }
    Ok(())
}
