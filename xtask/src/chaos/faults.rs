//! Faults of the machine: stopped processes, connections taken by others, a full disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::postgres::connect;
use crate::proc::children;

/// Processes that are stopped (SIGSTOP) until this is dropped.
pub(super) struct StoppedProcesses(Vec<Pid>);

impl StoppedProcesses {
    /// Stops a process and all its children.
    pub(super) fn with_children(pid: Pid) -> Result<Self> {
        let mut stopped = Self(Vec::new());
        stopped.stop(pid)?;
        // A stopped process starts no more children, but it may have until it was stopped.
        loop {
            let running: Vec<Pid> =
                children(pid)?.into_iter().filter(|child| !stopped.0.contains(child)).collect();
            if running.is_empty() {
                return Ok(stopped);
            }
            for child in running {
                // A process that has just ended cannot be stopped, and need not be.
                let _ = stopped.stop(child);
            }
        }
    }

    fn stop(&mut self, pid: Pid) -> Result<()> {
        self.0.push(pid);
        kill_process(pid, Signal::STOP).context("a process cannot be stopped")
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Drop for StoppedProcesses {
    fn drop(&mut self) {
        for pid in self.0.drain(..).rev() {
            // It may have been killed meanwhile.
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

/// Connections to Postgres that are held until this is dropped.
#[derive(Default)]
pub(super) struct TakenConnections(Vec<Client>);

impl TakenConnections {
    /// Takes all connections that are free.
    pub(super) async fn take_all(&mut self, url: &str) -> Result<()> {
        const AT_ONCE: usize = 16;
        loop {
            let mut takers = JoinSet::new();
            for _ in 0..AT_ONCE {
                let url = url.to_owned();
                takers.spawn(async move { connect(&url).await });
            }
            let mut refused = false;
            while let Some(taken) = takers.join_next().await {
                match taken? {
                    Ok(client) => self.0.push(client),
                    Err(_) => refused = true,
                }
            }
            if refused {
                ensure!(!self.0.is_empty(), "not one connection could be taken");
                return Ok(());
            }
        }
    }
}

/// A small file system in memory, mounted until this is dropped.
pub(super) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Fails, saying why, if this process cannot mount one.
    pub(super) fn can_mount(dir: &Path) -> Result<()> {
        let path = dir.join("mount-test");
        Self::mount(&path, 1 << 20).map(drop)
    }

    pub(super) fn mount(path: &Path, bytes: u64) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "mounting a small file system needs root");
        fs::create_dir_all(path)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "mintgate-chaos"]).arg(path);
        let output = mount.output().context("mount")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mount: {}", said.trim());
        Ok(Self { path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills the disk to the last byte.
    pub(super) fn fill(&self) -> Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.filler())?;
        let mut piece = 64 << 10;
        while piece > 0 {
            if filler.write(&vec![0; piece]).is_err() {
                piece /= 2;
            }
        }
        Ok(())
    }

    /// Deletes the file that filled the disk.
    pub(super) fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is about to end may still have files in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).output();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::{Process, until};

    #[tokio::test]
    async fn a_stopped_process_and_its_children_go_on_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'while :; do echo tick; sleep 0.01; done' & wait"]);
        let process = Process::logged("sh", &mut command, &dir.path().join("log")).unwrap();
        let ticks = || process.output().len();
        let limit = Duration::from_secs(10);
        let more_than = |count: usize| async move {
            ensure!(ticks() > count, "no tick");
            Ok(())
        };
        until(limit, || more_than(20)).await.unwrap();

        let stopped = StoppedProcesses::with_children(process.pid()).unwrap();
        assert_eq!(stopped.count(), 2);
        // The state T is "stopped" (proc(5)).
        let all_stopped = || async {
            for pid in &stopped.0 {
                let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
                let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
                ensure!(state == Some('T'), "{state:?}");
            }
            Ok(())
        };
        until(limit, all_stopped).await.unwrap();
        let count = ticks();

        drop(stopped);
        until(limit, || more_than(count)).await.unwrap();
    }
}
