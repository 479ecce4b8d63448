//! The workspace's test programs, two at a time: most tests wait for most of their time, so that one
//! program alone leaves the machine idle.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::process::{Process, output_of};
use crate::{say, workspace};

/// A test program, or anything else that is run as one.
struct Program {
    name: String,
    command: Command,
}

/// What cargo says of a program that it built.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the test programs that `arguments` of `cargo test` choose.
///
/// # Errors
/// If the build fails, or builds no test.
pub(super) async fn build(arguments: &[&str]) -> Result<Programs> {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--no-run"]).args(arguments);
    command.args(["--message-format", "json-render-diagnostics"]);
    let messages = output_of("cargo test --no-run", &mut command).await?;
    let mut programs: Vec<_> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.profile.test)
        .filter_map(Artifact::sized)
        .collect();
    if programs.is_empty() {
        bail!("cargo test --no-run has built no test");
    }
    // A program's size tells roughly how long it takes; the longest begins first.
    programs.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    Ok(Programs(programs.into_iter().map(|(_, program)| program).collect()))
}

impl Artifact {
    fn sized(self) -> Option<(u64, Program)> {
        let executable = self.executable?;
        let package = self.manifest_path.parent()?;
        let mut command = Command::new(&executable);
        // As `cargo test` starts it.
        command.current_dir(package).env("CARGO_MANIFEST_DIR", package);
        let size = executable.metadata().map_or(0, |metadata| metadata.len());
        let package = package.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{package}, {}", self.target.name);
        Some((size, Program { name, command }))
    }
}

/// Test programs that are built and have not run.
pub(super) struct Programs(VecDeque<Program>);

impl Programs {
    /// Adds the examples in the documentation, which cargo builds and runs in one.
    pub(super) fn with_doc_tests(mut self) -> Self {
        let mut command = workspace::cargo();
        command.args(["test", "--workspace", "--doc"]);
        self.0.push_back(Program { name: "the documentation's examples".to_owned(), command });
        self
    }

    /// Runs all of them, also after one has failed, each with what `prepare` does to its command, and
    /// shows the output of each when it has ended.
    ///
    /// # Errors
    /// Names the programs that failed.
    pub(super) async fn run(mut self, prepare: impl Fn(&mut Command)) -> Result<()> {
        for program in &mut self.0 {
            prepare(&mut program.command);
        }
        let logs = tempfile::tempdir()?;
        let waiting = RefCell::new(self.0);
        let (first, second) =
            tokio::try_join!(run_waiting(&waiting, &logs), run_waiting(&waiting, &logs))?;
        let failed = [first, second].concat();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join("; "));
        }
        Ok(())
    }
}

/// Runs one after another until none is waiting; returns the names of those that failed.
async fn run_waiting(waiting: &RefCell<VecDeque<Program>>, logs: &TempDir) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    loop {
        let next = waiting.borrow_mut().pop_front();
        let Some(mut program) = next else { return Ok(failed) };
        if !program.run(logs).await? {
            failed.push(program.name);
        }
    }
}

impl Program {
    /// Runs it and shows its output; returns whether it succeeded.
    async fn run(&mut self, logs: &TempDir) -> Result<bool> {
        let started = Instant::now();
        let log = tempfile::Builder::new().tempfile_in(logs)?.into_temp_path();
        let mut process = Process::logged(&self.name, &mut self.command, &log)?;
        let status = process.wait().await?;
        say::line(&process.output());
        let seconds = started.elapsed().as_secs();
        say::line(&format!("test: {}: {status}, {seconds} s", self.name));
        Ok(status.success())
    }
}
