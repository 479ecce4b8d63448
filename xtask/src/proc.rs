//! What Linux says of processes and processors: proc(5).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;

/// The part of `/proc/PID/stat` that is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: i32,
    /// Processor time of the process and of its children that have ended, in clock ticks.
    ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field, the name, may hold anything; the third follows its last bracket.
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let times = fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u64>().ok());
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks: times.sum::<Option<u64>>()? })
    }
}

fn processes() -> Result<BTreeMap<i32, Stat>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end at any time.
        let stat = fs::read_to_string(entry.path().join("stat")).ok();
        found.extend(stat.as_deref().and_then(Stat::parse).map(|stat| (pid, stat)));
    }
    Ok(found)
}

/// The processes that this one has started and that have not ended.
pub(crate) fn children(parent: Pid) -> Result<Vec<Pid>> {
    let parent = parent.as_raw_nonzero().get();
    let found = processes()?.into_iter().filter(|(_, stat)| stat.parent == parent);
    Ok(found.filter_map(|(pid, _)| Pid::from_raw(pid)).collect())
}

/// The processor time that a process and all its descendants have used so far.
pub(crate) fn cpu_time(root: Pid) -> Result<Duration> {
    let processes = processes()?;
    let root = root.as_raw_nonzero().get();
    let is_in_tree = |mut pid: i32| loop {
        match processes.get(&pid) {
            _ if pid == root => return true,
            Some(stat) => pid = stat.parent,
            None => return false,
        }
    };
    let tree = processes.iter().filter(|(pid, _)| is_in_tree(**pid));
    Ok(duration(tree.map(|(_, stat)| stat.ticks).sum()))
}

/// The time that all processors together have worked, and have existed, since the machine started.
pub(crate) fn processors() -> Result<[Duration; 2]> {
    let text = fs::read_to_string("/proc/stat")?;
    busy_and_all(&text).map(|ticks| ticks.map(duration)).context("/proc/stat cannot be read")
}

fn busy_and_all(stat: &str) -> Option<[u64; 2]> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // user, nice, system, idle, iowait, irq, softirq, steal; the rest is contained in user.
    let ticks = fields.take(8).map(|it| it.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let all: u64 = ticks.iter().sum();
    Some([all - ticks.get(3)? - ticks.get(4)?, all])
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs(ticks)
        / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;
    use crate::process::{Process, until};

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "12 (a b) c) S 7 12 12 0 -1 4194560 1 2 3 4 100 20 3 1 20 0";
        assert_eq!(Stat::parse(stat), Some(Stat { parent: 7, ticks: 124 }));
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[test]
    fn waiting_is_not_work() {
        let stat = "cpu  10 1 5 80 4 0 1 2 0 0\ncpu0 1 1 1 1\n";
        assert_eq!(busy_and_all(stat), Some([19, 103]));
    }

    #[tokio::test]
    async fn a_process_uses_processor_time_with_its_descendants() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sh -c 'while :; do :; done' & wait"]);
        let process = Process::logged("sh", &mut command, &dir.path().join("log")).unwrap();
        until(Duration::from_secs(20), || async {
            ensure!(cpu_time(process.pid())? > Duration::from_millis(20), "no time was counted");
            Ok(())
        })
        .await
        .unwrap();
    }
}
