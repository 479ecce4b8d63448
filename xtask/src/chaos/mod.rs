//! `cargo xtask chaos`: faults under load, with the shipped binary as a process, and a check of the
//! invariants of docs/reliability.md.
//!
//! Clients write their requests and the answers to a `journal`; the `checker` reads that and the store
//! alone. The faults follow from a seed; at which moment one meets a request does not.

mod api;
mod checker;
mod client;
mod experiment;
mod faults;
mod isolation;
mod journal;
mod overload;
mod plan;
mod report;
mod rig;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::time::Instant;

use crate::postgres::Postgres;
use crate::rig::{Binaries, Mock, build};
use crate::{say, workspace};
use plan::{Form, Plan, Store};
use report::Row;
use rig::Shared;

/// Fixed, so that two runs can be compared.
const DEFAULT_SEED: u64 = 20_260_101;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Fewer events and shorter pauses: about a minute
    #[arg(long)]
    short: bool,
    /// Run a service whose store checks first and writes then; succeeds if that is caught
    #[arg(long)]
    sabotage: bool,
    /// Decides the faults and the clients' requests
    #[arg(long, default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// Only the experiment of this name
    #[arg(long)]
    only: Option<String>,
    /// Keep the directory with journals, configurations and logs
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// The form that every change is tested with.
    pub(crate) fn short() -> Self {
        Self { short: true, seed: DEFAULT_SEED, ..Self::default() }
    }

    /// One experiment in its full form.
    pub(crate) fn only(name: &str) -> Self {
        Self { seed: DEFAULT_SEED, only: Some(name.to_owned()), ..Self::default() }
    }
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let ran = experiments(options, &Binaries::build().await?).await;
    match &ran {
        Ok(summary) => say::line(&format!("chaos: ok ({summary})")),
        Err(_) => say::line("chaos: FAILED"),
    }
    ran.map(drop)
}

/// Runs the experiments; returns a summary, or an error if one failed.
pub(crate) async fn experiments(options: &Options, binaries: &Binaries) -> Result<String> {
    let plans = plans(options)?;
    let dir = tempfile::Builder::new().prefix("mintgate-chaos-").tempdir()?;
    let started = Instant::now();
    let ran = in_dir(options, binaries, &plans, dir.path()).await;
    if options.keep {
        say::line(&format!("chaos: kept {}", dir.keep().display()));
    }
    let Ran { rows, not_run } = ran?;
    say::line(&format!("\n{}", report::table(&rows)));
    for reason in &not_run {
        say::line(&format!("  not run: {reason}"));
    }
    let took = started.elapsed().as_secs();
    if options.sabotage { caught(&rows) } else { held(&rows) }.map(|summary| {
        let missing = if not_run.is_empty() {
            String::new()
        } else {
            format!(", NOT RUN: {}", not_run.join("; "))
        };
        format!("{summary}, {took} s, seed {}{missing}", options.seed)
    })
}

fn plans(options: &Options) -> Result<Vec<Plan>> {
    let form = if options.short { Form::Short } else { Form::Full };
    let mut plans = plan::all(form);
    let names = plans.iter().map(|plan| plan.name).collect::<Vec<_>>().join(", ");
    plans.retain(|plan| options.only.as_deref().is_none_or(|only| only == plan.name));
    if options.sabotage {
        plans.retain(|plan| plan.catches_sabotage);
    }
    if plans.is_empty() {
        bail!("there is no such experiment; there are {names}");
    }
    Ok(plans)
}

struct Ran {
    rows: Vec<Row>,
    not_run: Vec<String>,
}

/// In the full form all experiments run one after another, since some of them judge speed. In the short
/// form those on SQLite run beside those on Postgres: most of them wait for most of the time.
async fn in_dir(options: &Options, binaries: &Binaries, plans: &[Plan], dir: &Path) -> Result<Ran> {
    let service = service(options, binaries).await?;
    let (on_postgres, on_sqlite): (Vec<&Plan>, Vec<&Plan>) =
        plans.iter().partition(|plan| plan.store == Store::Postgres);
    let postgres =
        if on_postgres.is_empty() { None } else { Some(Postgres::start_on_this_machine().await?) };
    let origin = postgres.as_ref().map(|server| format!(", Postgres {}", server.origin()));
    let (form, origin) = (if options.short { "short" } else { "full" }, origin.unwrap_or_default());
    say::line(&format!("chaos: seed {}, {form} form{origin}", options.seed));
    let lane = async |name: &str, plans: &[&Plan], postgres| -> Result<Ran> {
        let dir = dir.join(name);
        std::fs::create_dir(&dir)?;
        in_order(&mut shared(options, binaries, &service, postgres, &dir).await?, plans, &dir).await
    };
    if !options.short {
        return lane("all", &plans.iter().collect::<Vec<_>>(), postgres).await;
    }
    let (mut ran, beside) = tokio::try_join!(
        lane("postgres", &on_postgres, postgres),
        lane("sqlite", &on_sqlite, None)
    )?;
    ran.rows.extend(beside.rows);
    ran.not_run.extend(beside.not_run);
    Ok(ran)
}

async fn in_order(shared: &mut Shared, plans: &[&Plan], dir: &Path) -> Result<Ran> {
    let mut ran = Ran { rows: Vec::new(), not_run: Vec::new() };
    for plan in plans {
        if let Err(reason) = experiment::can_run(plan, dir) {
            ran.not_run.push(format!("{} ({reason:#})", plan.name));
            continue;
        }
        let started = Instant::now();
        let row = experiment::run(shared, plan, &dir.join(plan.name)).await;
        let row = row.with_context(|| format!("experiment {}", plan.name))?;
        let mark = if row.is_ok() { "✓" } else { "✗" };
        say::line(&format!("  {mark} {}, {} ms", plan.name, started.elapsed().as_millis()));
        ran.rows.push(row);
    }
    Ok(ran)
}

/// The program that serves: the shipped one, or the sabotaged one.
async fn service(options: &Options, binaries: &Binaries) -> Result<PathBuf> {
    if !options.sabotage {
        return Ok(binaries.service.clone());
    }
    let args = ["build", "--example", "sabotaged"];
    let [sabotaged] = build(&workspace::root(), &args, ["sabotaged"]).await?;
    Ok(sabotaged)
}

async fn shared(
    options: &Options,
    binaries: &Binaries,
    service: &Path,
    postgres: Option<Postgres>,
    dir: &Path,
) -> Result<Shared> {
    // A build meanwhile must not replace a program that is started again and again.
    let copy = |program: &Path, name: &str| -> Result<PathBuf> {
        let copied = dir.join(name);
        std::fs::copy(program, &copied).with_context(|| program.display().to_string())?;
        Ok(copied)
    };
    Ok(Shared {
        service: copy(service, "serving")?,
        commands: copy(&binaries.service, "mintgate")?,
        postgres,
        mock: Mock::start(binaries, dir, "mock-idp").await?,
        paused: Mock::start(binaries, dir, "mock-idp-paused").await?,
        seed: options.seed,
    })
}

fn held(rows: &[Row]) -> Result<String> {
    let broken = rows.iter().filter(|row| !row.is_ok()).count();
    if broken > 0 {
        bail!("{broken} of {} experiments failed", rows.len());
    }
    Ok(format!("{} experiments", rows.len()))
}

fn caught(rows: &[Row]) -> Result<String> {
    let mut broken: Vec<String> = rows
        .iter()
        .flat_map(|row| row.violations().iter().map(|violation| violation.invariant.to_string()))
        .collect();
    broken.sort_unstable();
    broken.dedup();
    if broken.is_empty() {
        bail!("the sabotage was not caught: these experiments prove nothing");
    }
    Ok(format!("the sabotage was caught: it broke {}", broken.join(", ")))
}
