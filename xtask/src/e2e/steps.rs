//! The steps of a run: each prints one line and has a deadline; the first failure ends the run.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::time::Instant;

use crate::{say, workspace};

/// The longest time a step may take.
const STEP_LIMIT: Duration = Duration::from_secs(90);

#[derive(Default)]
pub(super) struct Steps {
    done: usize,
    not_run: Vec<String>,
}

impl Steps {
    /// Prints a heading over the steps that follow.
    pub(super) fn section(title: &str) {
        say::line(&format!("e2e: {title}"));
    }

    /// Runs one step and prints how it went.
    pub(super) async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.step_within(STEP_LIMIT, name, work).await
    }

    /// The same for a step that may take longer.
    pub(super) async fn step_within<T>(
        &mut self,
        limit: Duration,
        name: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        let outcome = tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(anyhow!("not done within {limit:?}")));
        let took = started.elapsed().as_millis();
        if outcome.is_ok() {
            self.done += 1;
            say::line(&format!("  ✓ {name}, {took} ms"));
        } else {
            say::line(&format!("  ✗ {name}, {took} ms"));
        }
        outcome.with_context(|| format!("step “{name}”"))
    }

    /// Notes a step that cannot run on this machine; with `CI` set that is a failure.
    pub(super) fn not_run(&mut self, name: &str, reason: &str) {
        say::line(&format!("  - {name}: not run: {reason}"));
        self.not_run.push(format!("{name} ({reason})"));
    }

    /// Notes a step that an option excludes.
    pub(super) fn left_out(name: &str, reason: &str) {
        say::line(&format!("  - {name}: left out: {reason}"));
    }

    /// Returns the summary; an error if steps could not run and `CI` is set.
    pub(super) fn finish(self) -> Result<String> {
        if self.not_run.is_empty() {
            return Ok(format!("{} steps", self.done));
        }
        let missing = self.not_run.join("; ");
        if workspace::unattended() {
            bail!("CI is set, and these steps were not run: {missing}");
        }
        Ok(format!("{} steps, NOT RUN: {missing}", self.done))
    }
}
