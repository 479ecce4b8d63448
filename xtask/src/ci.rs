//! `cargo xtask ci`: what a change must pass.

use anyhow::{Result, bail};
use clap::Args;

use crate::process::Process;
use crate::{say, test, workspace};

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out `test`, where another job runs it
    #[arg(long)]
    no_tests: bool,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    cargo("fmt", &["--all", "--check"], &[]).await?;
    cargo("clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"], &[]).await?;
    cargo("doc", &["--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]).await?;
    if !options.no_tests {
        test::run(&test::Options::default()).await?;
    }
    if workspace::find_program(&["cargo-deny"]).is_some() {
        cargo("deny", &["check"], &[]).await?;
    } else if workspace::unattended() {
        bail!("CI is set, and cargo-deny is not installed");
    } else {
        say::line("ci: `cargo deny check` was not run: cargo-deny is not installed");
    }
    say::line("ci: ok");
    Ok(())
}

async fn cargo(subcommand: &str, args: &[&str], envs: &[(&str, &str)]) -> Result<()> {
    say::line(&format!("ci: cargo {subcommand} {}", args.join(" ")));
    let mut command = workspace::cargo();
    command.arg(subcommand).args(args).envs(envs.iter().copied());
    Process::shown(&format!("cargo {subcommand}"), &mut command)?.success().await
}
