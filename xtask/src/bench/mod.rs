//! `cargo xtask bench`: refreshes and logins under load, of the working tree and of another revision
//! in turn. docs/benchmarks.md says how to read what it prints.

mod flood;
mod load;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use mintgate_testkit::free_addresses;
use rustix::process::{Pid, Signal, getpid};
use tokio::time::Instant;

use crate::database::Database;
use crate::postgres::Postgres;
use crate::process::{Process, capture, tail};
use crate::rig::{Binaries, Mock, REDIRECT_URI, Service, build, listeners, provider};
use crate::{proc, say, workspace};
use load::{CLIENTS, Clients, Operation};
use report::{Report, Sample};

const GIT_LIMIT: Duration = Duration::from_mins(1);
const WARM_UP: Duration = Duration::from_secs(1);
const PROVIDER: &str = "mock";

#[derive(Args)]
pub(crate) struct Options {
    /// Compare the working tree with this revision
    #[arg(long, value_name = "REV")]
    compare: Option<String>,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many times each program is measured, in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure only one operation, or only one store
    #[arg(long)]
    only: Option<Only>,
    /// Measure refreshes beside 10,000 made-up codes of one network instead, on SQLite
    #[arg(long, conflicts_with_all = ["compare", "only"])]
    flood: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Refresh,
    Login,
    Postgres,
    Sqlite,
}

/// The store that the measured services run on.
struct Store<'a> {
    name: &'static str,
    /// The server and the first of its processes; SQLite has neither.
    postgres: Option<(&'a Postgres, Pid)>,
}

/// A program to measure.
struct Program {
    name: String,
    path: PathBuf,
}

/// A program that serves on a store of its own.
struct Running {
    service: Service,
    clients: Clients,
    // Dropped after the service.
    _database: Option<Database>,
}

impl Running {
    async fn run(&mut self, operation: Operation, span: Duration) -> Result<u64> {
        let ran = self.clients.run(operation, span).await;
        ran.with_context(|| {
            format!("the end of the service's log:\n{}\n", tail(&self.service.log()))
        })
    }
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        // An unoptimised load generator would take processor time from what it measures.
        let mut command = workspace::cargo();
        command.args(["run", "--release", "--package", "xtask", "--"]);
        command.args(std::env::args_os().skip(1));
        let process = Process::shown("bench", &mut command)?.stopped_by(Signal::TERM);
        return process.success().await;
    }
    let dir = tempfile::Builder::new().prefix("mintgate-bench-").tempdir()?;
    let (programs, mock) = programs(options, dir.path()).await?;
    if options.flood {
        let program = &programs.first().context("there is no program")?.path;
        let form = (options.rounds, options.seconds);
        return flood::run(program, &mock, dir.path(), form).await;
    }
    let mut postgres = match options.only {
        Some(Only::Sqlite) => None,
        _ => Some(Postgres::start_on_this_machine().await?),
    };
    let postmaster = postgres.as_mut().map(Postgres::pid).transpose()?;
    let postgres = postgres.as_ref().zip(postmaster);
    say::line(&heading(options, &programs, postgres.map(|(server, _)| server), dir.path())?);
    let mut report = Report::new(programs.len());
    say::line(&report.header());
    if let Some(postgres) = postgres {
        let store = Store { name: "Postgres", postgres: Some(postgres) };
        measure(options, &store, &programs, &mock, dir.path(), &mut report).await?;
    }
    if options.only != Some(Only::Postgres) {
        let store = Store { name: "SQLite", postgres: None };
        measure(options, &store, &programs, &mock, dir.path(), &mut report).await?;
    }
    say::line(&report.summary());
    Ok(())
}

/// The programs to measure, the working tree's first, and a provider for their logins.
async fn programs(options: &Options, dir: &Path) -> Result<(Vec<Program>, Mock)> {
    // The working tree is built last, so that its programs are left where cargo puts them.
    let other = match &options.compare {
        Some(revision) => Some(build_revision(revision).await?),
        None => None,
    };
    let binaries = Binaries::build_release().await?;
    let mut programs =
        vec![Program { name: "working tree".to_owned(), path: binaries.service.clone() }];
    programs.extend(other);
    for (number, program) in programs.iter_mut().enumerate() {
        // A build meanwhile must not replace what is measured.
        let copy = dir.join(format!("mintgate-{number}"));
        std::fs::copy(&program.path, &copy).with_context(|| program.path.display().to_string())?;
        program.path = copy;
    }
    Ok((programs, Mock::start(&binaries, dir, "mock-idp").await?))
}

/// Builds the service of another revision, unless an earlier run has.
async fn build_revision(revision: &str) -> Result<Program> {
    let git = async |args: &[&str]| {
        let mut command = Command::new("git");
        capture(command.current_dir(workspace::root()).args(args), GIT_LIMIT).await
    };
    let commit = format!("{revision}^{{commit}}");
    let commit = git(&["rev-parse", "--short=12", "--verify", &commit]).await?.trim().to_owned();
    let target = workspace::root().join("target");
    let home = target.join("bench").join(&commit);
    let path = home.join("mintgate");
    if !path.exists() {
        say::line(&format!("bench: building {commit}"));
        let source = home.join("source").display().to_string();
        // An interrupted run may have left it.
        let _ = git(&["worktree", "remove", "--force", &source]).await;
        git(&["worktree", "add", "--detach", "--force", &source, &commit]).await?;
        let target = target.display().to_string();
        let args =
            ["build", "--release", "--package", "mintgate", "--bins", "--target-dir", &target];
        let [built] = build(Path::new(&source), &args, ["mintgate"]).await?;
        std::fs::copy(built, &path)?;
        git(&["worktree", "remove", "--force", &source]).await?;
    }
    let name = if commit.starts_with(revision) { commit } else { format!("{revision}, {commit}") };
    Ok(Program { name, path })
}

fn heading(
    options: &Options,
    programs: &[Program],
    postgres: Option<&Postgres>,
    dir: &Path,
) -> Result<String> {
    const TMPFS: i64 = 0x0102_1994;
    let names: Vec<String> =
        programs.iter().zip(["A", "B"]).map(|(it, side)| format!("{side} = {}", it.name)).collect();
    let origin = postgres.map(|it| format!("; Postgres {}, with fsync", it.origin()));
    let in_memory = rustix::fs::statfs(dir)?.f_type == TMPFS;
    Ok(format!(
        "bench: {}; {CLIENTS} clients, {} s a measurement, {} processors{}{}",
        names.join("; "),
        options.seconds,
        std::thread::available_parallelism()?,
        origin.unwrap_or_default(),
        if in_memory {
            "\nbench: the stores are in memory: set TMPDIR to a directory on a disk"
        } else {
            ""
        }
    ))
}

/// Measures all programs on one store, in turn.
async fn measure(
    options: &Options,
    store: &Store<'_>,
    programs: &[Program],
    mock: &Mock,
    dir: &Path,
    report: &mut Report,
) -> Result<()> {
    let mut running = Vec::new();
    for (program, side) in programs.iter().zip(["a", "b"]) {
        let dir = dir.join(format!("{}-{side}", store.name));
        let started = start(program, mock, store, &dir, side).await;
        running.push(started.with_context(|| format!("{} on {}", program.name, store.name))?);
    }
    let operations = [(Operation::Refresh, Only::Login), (Operation::Login, Only::Refresh)];
    for (operation, excluded) in operations {
        if options.only == Some(excluded) {
            continue;
        }
        for it in &mut running {
            it.run(operation, WARM_UP).await?;
        }
        for _ in 0..options.rounds {
            let mut samples = Vec::new();
            for it in &mut running {
                samples.push(sample(it, operation, options.seconds, store).await?);
            }
            say::line(&report.add(&format!("{operation:?}, {}", store.name), samples));
        }
    }
    Ok(())
}

/// Starts a program as a service whose clients are signed in.
async fn start(
    program: &Program,
    mock: &Mock,
    store: &Store<'_>,
    dir: &Path,
    side: &str,
) -> Result<Running> {
    std::fs::create_dir_all(dir)?;
    let database = match store.postgres {
        Some((server, _)) => Some(Database::create(server.url(), &format!("bench_{side}")).await?),
        None => None,
    };
    let url = match &database {
        Some(database) => database.url.clone(),
        None => format!("sqlite://{}", dir.join("mintgate.db").display()),
    };
    let addresses @ [public, _] = free_addresses();
    let config = [
        listeners(addresses, &format!("http://{public}")),
        format!("[store]\nurl = \"{url}\"\n\n[keys]\ndir = \"keys\"\n\n"),
        "[tokens]\nbody_delivery = true\n\n[log]\nformat = \"json\"\n".to_owned(),
        provider(PROVIDER, &mock.issuer, &[REDIRECT_URI], ""),
    ];
    let mut service =
        Service::configure("mintgate", &program.path, dir, &config.concat(), addresses)?;
    service.migrate().await?;
    service.start().await?;
    let clients = Clients::sign_in(&service.base(), &mock.issuer, PROVIDER).await?;
    Ok(Running { service, clients, _database: database })
}

async fn sample(
    running: &mut Running,
    operation: Operation,
    seconds: u64,
    store: &Store<'_>,
) -> Result<Sample> {
    let service = running.service.process()?.pid();
    let used = || -> Result<_> {
        let postgres = store.postgres.map(|(_, pid)| proc::cpu_time(pid)).transpose()?;
        Ok((proc::cpu_time(service)?, postgres, proc::cpu_time(getpid())?, proc::processors()?))
    };
    let (started, before) = (Instant::now(), used()?);
    let requests = running.run(operation, Duration::from_secs(seconds)).await?;
    let (took, after) = (started.elapsed(), used()?);
    ensure!(requests > 0, "no request was answered");
    let [busy, all] = [0, 1].map(|n| (after.3[n].saturating_sub(before.3[n])).as_secs_f64());
    let own = after.2.saturating_sub(before.2).as_secs_f64();
    Ok(Sample {
        requests,
        took,
        service: after.0.saturating_sub(before.0),
        postgres: after.1.zip(before.1).map(|(after, before)| after.saturating_sub(before)),
        others: (busy - own).max(0.0) / all.max(f64::EPSILON),
    })
}
