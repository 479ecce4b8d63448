//! The developer commands, `cargo xtask …`: each is a module, this file only chooses.

#[cfg(test)]
mod adverse_cases;
mod bench;
mod chaos;
mod check_deps;
mod ci;
mod database;
mod db;
mod e2e;
mod foreign;
mod http;
mod postgres;
mod proc;
mod process;
mod rig;
mod say;
mod schemathesis;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Mintgate's developer commands")]
enum Command {
    /// Every test, needing nothing prepared: unit, integration, doc, crate arrows, end to end, chaos
    Test(test::Options),
    /// The shipped binary as a process, against real Postgres, SQLite and the mock provider
    E2e(e2e::Options),
    /// Faults under load, and whether what must hold held: kills, cuts, pauses, a full disk
    Chaos(chaos::Options),
    /// Refreshes and logins under load, compared with another revision
    Bench(bench::Options),
    /// What a paused provider does to everybody else: one experiment of chaos
    Isolation,
    /// The service with providers that are not written here: needs the network
    Foreign(foreign::Options),
    /// Requests made from the OpenAPI documents: every answer must be one that they have
    Schemathesis(schemathesis::Options),
    /// What a change must pass: fmt, clippy, docs, test (with e2e and chaos), deny
    Ci(ci::Options),
    /// The arrows between the crates, and what the domain may not reach
    CheckDeps,
    /// A Postgres for development
    #[command(subcommand)]
    Db(db::Action),
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    // Dropping the command's future stops whatever it started: an interrupt tidies up as an end does.
    let outcome = tokio::select! {
        outcome = run(command) => outcome,
        name = interrupted() => name.and_then(|name| Err(anyhow!("stopped by {name}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::error(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Test(options) => test::run(&options).await,
        Command::E2e(options) => e2e::run(&options).await,
        Command::Chaos(options) => chaos::run(&options).await,
        Command::Bench(options) => bench::run(&options).await,
        Command::Isolation => chaos::run(&chaos::Options::only("one-provider-paused")).await,
        Command::Foreign(options) => foreign::run(&options).await,
        Command::Schemathesis(options) => schemathesis::run(&options).await,
        Command::Ci(options) => ci::run(&options).await,
        Command::CheckDeps => check_deps::run().await,
        Command::Db(action) => db::run(action).await,
    }
}

async fn interrupted() -> Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    })
}
