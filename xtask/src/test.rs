//! `cargo xtask test`: every test there is, with nothing to prepare.

use std::num::NonZero;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use tempfile::NamedTempFile;

use crate::postgres::{Durability, Postgres, URL_VARIABLE};
use crate::process::Process;
use crate::rig::Binaries;
use crate::{chaos, check_deps, e2e, say, workspace};

mod programs;

use programs::Programs;

/// How many tests a test program runs at once. Twice as many as there are cores: most tests wait for
/// something for most of their time.
const THREADS_VARIABLE: &str = "RUST_TEST_THREADS";

/// What `--fast` builds.
const FAST: &[&str] = &["--lib", "--bins", "--tests"];

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only what needs neither Postgres nor a browser: no doc tests, no e2e, no chaos
    #[arg(long)]
    fast: bool,
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
    if options.fast {
        check_deps::run().await.context("check-deps")?;
        if !options.cargo_args.is_empty() {
            chosen_tests(None, FAST, &options.cargo_args).await?;
            return Ok("cargo test on SQLite, filtered; check-deps".to_owned());
        }
        run_tests(None, programs::build(FAST).await?).await?;
        return Ok("cargo test on SQLite; check-deps; no doc tests, no e2e, no chaos".to_owned());
    }
    let postgres = match Postgres::given().await? {
        Some(server) => server,
        None => Postgres::start_own(Durability::Off).await?,
    };
    say::line(&format!("test: Postgres {}", postgres.origin()));
    if !options.cargo_args.is_empty() {
        chosen_tests(Some(&postgres), &[], &options.cargo_args).await?;
        return Ok("cargo test, filtered; no check-deps, no e2e, no chaos".to_owned());
    }
    run_tests(Some(&postgres), programs::build(&[]).await?.with_doc_tests()).await?;
    drop(postgres);
    check_deps::run().await.context("check-deps")?;
    let binaries = Binaries::build().await?;
    let walked = e2e::walk(&e2e::Options::default(), &binaries).await.context("e2e")?;
    let endured = chaos::experiments(&chaos::Options::short(), &binaries).await.context("chaos")?;
    Ok(format!("cargo test; check-deps; e2e: {walked}; chaos: {endured}"))
}

/// Runs tests against a database server; without one, those that need it say so and pass.
async fn run_tests(postgres: Option<&Postgres>, programs: Programs) -> Result<()> {
    // Not while building: cargo trusts these certificates too.
    let authority = one_authority()?;
    programs
        .run(|command| prepare(command, postgres, authority.as_ref()))
        .await
        .context("cargo test")
}

/// Builds and runs what `args` of `cargo test` choose.
async fn chosen_tests(
    postgres: Option<&Postgres>,
    targets: &[&str],
    args: &[String],
) -> Result<()> {
    let command = || {
        let mut command = workspace::cargo();
        command.arg("test").args(scope(args)).args(targets);
        command
    };
    let mut build = command();
    build.arg("--no-run").args(args.iter().take_while(|arg| *arg != "--"));
    Process::shown("cargo test --no-run", &mut build)?.success().await?;

    let mut run = command();
    let authority = one_authority()?;
    prepare(run.args(args), postgres, authority.as_ref());
    Process::shown("cargo test", &mut run)?.success().await
}

/// Sets the environment of a command that runs tests.
fn prepare(command: &mut Command, postgres: Option<&Postgres>, authority: Option<&NamedTempFile>) {
    command.envs(authority.map(|file| ("SSL_CERT_FILE", file.path())));
    if std::env::var_os(THREADS_VARIABLE).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        command.env(THREADS_VARIABLE, (2 * cores).to_string());
    }
    match postgres {
        Some(postgres) => command.env(URL_VARIABLE, postgres.url()),
        None => command.env_remove(URL_VARIABLE),
    };
}

/// The first of the certificates that the machine trusts, in a file. No test speaks to a server with a
/// public certificate, and each of a thousand HTTP clients would parse all of them.
fn one_authority() -> Result<Option<NamedTempFile>> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let Some(trusted) = openssl_probe::probe().cert_file else { return Ok(None) };
    let trusted = String::from_utf8_lossy(&std::fs::read(trusted)?).into_owned();
    let Some((first, _)) = trusted.split_once(END) else { return Ok(None) };
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), format!("{first}{END}"))?;
    Ok(Some(file))
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
