//! `mintgate dev`: the line it prints, its page, and how it ends.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mintgate_testkit::free_addresses;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::steps::Steps;
use super::{browser, webdriver};
use crate::http::{expect, keys};
use crate::process::{Process, capture};
use crate::rig::{Binaries, plain};
use crate::{say, workspace};

const LOG: &str = "dev.log";
const START_LIMIT: Duration = Duration::from_secs(30);
const LINE_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn walk(
    steps: &mut Steps,
    binaries: &Binaries,
    dir: &Path,
    with_browser: bool,
) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let [listen, ops, idp] = free_addresses();
    let mut command = plain(&binaries.service, dir);
    command.args(["dev", "--listen", &listen.to_string(), "--ops-listen", &ops.to_string()]);
    command.args(["--idp-listen", &idp.to_string(), "--dir"]).arg(dir.join("dev"));
    let mut process = Process::logged("mintgate dev", &mut command, &dir.join(LOG))?;
    let page = format!("http://{listen}/");
    let walked = watched(steps, &mut process, dir, &page, with_browser).await;
    if walked.is_err() {
        say::error(&format!("--- the end of mintgate dev's output\n{}", process.tail()));
    }
    walked
}

async fn watched(
    steps: &mut Steps,
    process: &mut Process,
    dir: &Path,
    page: &str,
    with_browser: bool,
) -> Result<()> {
    let log = dir.join(LOG);
    let name = "mintgate dev starts and prints its page and its one line";
    let line = steps.step(name, banner(process, &log, page)).await?;
    let name = "the printed line, run as it is, signs in";
    if workspace::find_program(&["curl"]).is_some() {
        steps.step(name, run_line(&line)).await?;
    } else {
        steps.not_run(name, "no curl in PATH; Debian: apt-get install curl");
    }
    match webdriver::find() {
        _ if !with_browser => {
            for name in browser::STEPS {
                Steps::left_out(name, "--no-browser");
            }
        }
        Some(programs) => browser::walk(steps, &programs, dir, page).await?,
        None => {
            for name in browser::STEPS {
                steps.not_run(name, webdriver::MISSING);
            }
        }
    }
    steps.step("Ctrl-C ends it", stop(process)).await
}

/// Waits for the banner and returns the command in it.
async fn banner(process: &mut Process, log: &Path, page: &str) -> Result<String> {
    let printed = || async {
        let output = std::fs::read_to_string(log)?;
        ensure!(output.contains(page), "the page's address {page} was not printed");
        let mut lines = output.lines().filter_map(|line| line.strip_prefix("  "));
        let line = lines.find(|line| line.starts_with("CODE=$("));
        Ok(line.context("no line that begins with CODE=$( was printed")?.to_owned())
    };
    process.ready(START_LIMIT, printed).await
}

async fn run_line(line: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    let printed = capture(shell.args(["-c", line]).env("NO_PROXY", "*"), LINE_LIMIT).await?;
    let body: Value = serde_json::from_str(&printed)
        .with_context(|| format!("expected the answer as JSON, got {printed}"))?;
    expect("keys", &keys(&body), &vec!["accessToken", "expiresIn", "message", "tokenType"])?;
    expect("tokenType", &body["tokenType"], &json!("Bearer"))
}

async fn stop(process: &mut Process) -> Result<()> {
    process.signal(Signal::INT)?;
    let status = process.wait_at_most(STOP_LIMIT).await?;
    ensure!(status.success(), "expected exit code 0, got {status}");
    Ok(())
}
