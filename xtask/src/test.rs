//! `cargo xtask test`: every test there is, with nothing to prepare.

use anyhow::{Context, Result};
use clap::Args;

use crate::postgres::{Durability, Postgres, URL_VARIABLE};
use crate::process::Process;
use crate::{chaos, check_deps, e2e, say, workspace};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Passed on to `cargo test`; nothing else runs then
    #[arg(last = true)]
    cargo_args: Vec<String>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let summary = stages(options).await;
    match &summary {
        Ok(summary) => say::line(&format!("test: ok ({summary})")),
        Err(_) => say::line("test: FAILED"),
    }
    summary.map(drop)
}

async fn stages(options: &Options) -> Result<String> {
    cargo_test(&options.cargo_args).await?;
    if !options.cargo_args.is_empty() {
        return Ok("cargo test, filtered; no check-deps, no e2e, no chaos".to_owned());
    }
    check_deps::run().await.context("check-deps")?;
    let walked = e2e::walk(&e2e::Options::default()).await.context("e2e")?;
    let endured = chaos::experiments(&chaos::Options::short()).await.context("chaos")?;
    Ok(format!("cargo test; check-deps; e2e: {walked}; chaos: {endured}"))
}

async fn cargo_test(args: &[String]) -> Result<()> {
    let postgres = match Postgres::given().await? {
        Some(server) => server,
        None => Postgres::start_own(Durability::Off).await?,
    };
    say::line(&format!("test: Postgres {}", postgres.origin()));
    let mut command = workspace::cargo();
    command.arg("test").args(scope(args)).args(args).env(URL_VARIABLE, postgres.url());
    Process::shown("cargo test", &mut command)?.success().await
}

/// The whole workspace, unless the arguments choose packages themselves.
fn scope(args: &[String]) -> Option<&'static str> {
    let own = args.iter().take_while(|arg| *arg != "--").any(|arg| {
        (arg.starts_with("-p") && !arg.starts_with("--")) || arg.starts_with("--package")
    });
    (!own).then_some("--workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_of(args: &[&str]) -> Option<&'static str> {
        scope(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_workspace_is_tested_unless_packages_are_named() {
        assert_eq!(scope_of(&[]), Some("--workspace"));
        assert_eq!(scope_of(&["case_15", "--", "-p"]), Some("--workspace"));
        assert_eq!(scope_of(&["-p", "mintgate-domain"]), None);
        assert_eq!(scope_of(&["--package=mintgate-domain"]), None);
    }
}
