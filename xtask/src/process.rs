//! Child processes that never outlive the command that started them.

use std::fs::File;
use std::future::Future;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const POLL: Duration = Duration::from_millis(10);

/// How many polls a process may take to end after its stop signal, before its group is killed.
const STOP_POLLS: u32 = 500;

/// A process in a group of its own; dropping it ends the whole group.
pub(crate) struct Process {
    name: String,
    child: Child,
    pid: Pid,
    log: Option<PathBuf>,
    stop: Signal,
}

impl Process {
    /// Starts a process whose output goes to a file.
    pub(crate) fn logged(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Self::spawn(name, command, Some(log.to_owned()))
    }

    /// Starts a process that writes to this command's terminal.
    pub(crate) fn shown(name: &str, command: &mut Command) -> Result<Self> {
        Self::spawn(name, command.stdin(Stdio::null()), None)
    }

    fn spawn(name: &str, command: &mut Command, log: Option<PathBuf>) -> Result<Self> {
        let child = command.process_group(0).spawn().with_context(|| {
            format!("{name}: cannot start {}", command.get_program().to_string_lossy())
        })?;
        let pid = Pid::from_child(&child);
        Ok(Self { name: name.to_owned(), child, pid, log, stop: Signal::KILL })
    }

    /// Sets the signal that dropping the process sends before it kills the process.
    pub(crate) fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the process, not to its group.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal)
            .with_context(|| format!("{}: cannot be signalled", self.name))
    }

    /// The exit status, if the process has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until the process ends, without a limit.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the process ends; an error after the limit.
    pub(crate) async fn wait_at_most(&mut self, limit: Duration) -> Result<ExitStatus> {
        let waited = tokio::time::timeout(limit, self.wait()).await;
        waited.map_err(|_| anyhow!("{}: still running after {limit:?}", self.name))?
    }

    /// Waits until `sign` succeeds, which means that the process is ready. After the limit, or if the
    /// process ends, fails with the end of its output.
    pub(crate) async fn ready<T, F>(
        &mut self,
        limit: Duration,
        sign: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let ready = tokio::select! {
            ready = until(limit, sign) => ready,
            ended = self.wait() => ended.and_then(|status| Err(anyhow!("it ended ({status})"))),
        };
        ready.with_context(|| {
            format!("{} does not get ready; the end of its output:\n{}\n", self.name, self.tail())
        })
    }

    /// Waits until the process ends; an error unless its exit status is 0.
    pub(crate) async fn success(mut self) -> Result<()> {
        let status = self.wait().await?;
        if !status.success() {
            bail!("{} failed ({status})", self.name);
        }
        Ok(())
    }

    /// Everything the process has written so far.
    pub(crate) fn output(&self) -> String {
        self.log.as_deref().map(read_log).unwrap_or_default()
    }

    /// The last lines the process has written.
    pub(crate) fn tail(&self) -> String {
        tail(&self.output())
    }

    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // An error means that the process has just ended.
        let _ = kill_process(self.pid, self.stop);
        if self.stop != Signal::KILL {
            for _ in 0..STOP_POLLS {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                thread::sleep(POLL);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        // Also if the leader has ended: its children may still run.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs a command to its end within a limit, without showing its messages; returns its standard output.
pub(crate) async fn capture(command: &mut Command, limit: Duration) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let status = Process::spawn(&name, command, None)?.wait_at_most(limit).await?;
    if !status.success() {
        bail!("{name} failed ({status}): {}", tail(&whole(&mut stderr)?).trim());
    }
    whole(&mut stdout)
}

/// Runs a command to its end and shows its messages; returns its standard output.
pub(crate) async fn output_of(name: &str, command: &mut Command) -> Result<String> {
    let mut stdout = tempfile::tempfile()?;
    command.stdout(stdout.try_clone()?);
    Process::shown(name, command)?.success().await?;
    whole(&mut stdout)
}

fn whole(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Repeats an attempt until it succeeds; after the limit, fails with the error of the last attempt.
pub(crate) async fn until<T, F>(limit: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut last = anyhow!("no attempt ended");
    let trying = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) => last = error,
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let tried = tokio::time::timeout(limit, trying).await;
    tried.map_err(|_| last.context(format!("not within {limit:?}")))
}

fn read_log(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The last 40 lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropping_a_process_ends_what_it_started_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        let process = Process::logged("sh", &mut command, &dir.path().join("log")).unwrap();
        let grandchild: i32 = until(Duration::from_secs(10), || async {
            Ok(process.output().trim().parse::<i32>()?)
        })
        .await
        .unwrap();
        let grandchild = Pid::from_raw(grandchild).unwrap();
        rustix::process::test_kill_process(grandchild).expect("it runs");

        drop(process);

        until(Duration::from_secs(10), || async {
            // A signal still reaches a zombie; its state tells it from a running process.
            let stat =
                std::fs::read_to_string(format!("/proc/{}/stat", grandchild.as_raw_nonzero()));
            match stat {
                Ok(stat) if !stat.contains(") Z ") => bail!("it still runs"),
                _ => Ok(()),
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_process_asked_to_stop_may_finish_what_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap 'echo finished; exit 0' TERM; echo ready; while :; do sleep 0.02; done",
        ]);
        let process = Process::logged("sh", &mut command, &log).unwrap().stopped_by(Signal::TERM);
        until(Duration::from_secs(10), || async {
            process.output().contains("ready").then_some(()).context("not ready")
        })
        .await
        .unwrap();
        drop(process);
        assert_eq!(read_log(&log), "ready\nfinished\n");
    }

    #[tokio::test]
    async fn waiting_in_vain_ends_with_the_last_error() {
        let waited: Result<()> =
            until(Duration::from_millis(50), || async { bail!("not yet") }).await;
        let error = format!("{:#}", waited.unwrap_err());
        assert!(error.contains("50ms") && error.contains("not yet"), "{error}");
    }
}
