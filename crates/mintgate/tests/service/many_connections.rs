//! What connections cost a process, and how many it can have.

use std::time::Duration;

use crate::common::process::Process;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const JWKS: &[u8] = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n";

/// So many connections that have sent this.
async fn connections(process: &Process, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(process.public).await.unwrap();
        // The service may close the connection before it has read everything.
        let _ = stream.write_all(bytes).await;
        streams.push(stream);
    }
    streams
}

/// Proves that both listeners answer on new connections.
async fn assert_reachable(process: &Process) {
    let mut stream = connections(process, 1, JWKS).await.remove(0);
    let mut status = [0; 12];
    let read = timeout(Duration::from_secs(10), stream.read_exact(&mut status));
    read.await.expect("an answer in time").expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(process.ops("/health/live").await.unwrap().0, StatusCode::OK);
    assert_eq!(process.ops("/health/ready").await.unwrap().0, StatusCode::OK);
}

/// The limit of open files that a process chose and the one that it may choose.
fn limit_of_files(process: &Process) -> (u64, u64) {
    let limits = process.proc("limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap_or(u64::MAX));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[tokio::test]
async fn idle_connections_leave_both_listeners_reachable_where_few_files_may_be_open() {
    let process = Process::start("", "ulimit -n 1024", |_| ()).await;
    assert_eq!(limit_of_files(&process), (1024, 1024));
    let idle = connections(&process, 1500, b"").await;
    assert_reachable(&process).await;
    drop(idle);
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_as_far_as_the_process_may() {
    let process = Process::start("", "ulimit -Sn 512", |_| ()).await;
    let (chosen, highest) = limit_of_files(&process);
    assert_eq!(chosen, highest);
    assert!(highest > 512);
}

#[tokio::test]
async fn many_unfinished_heads_take_little_memory() {
    let process = Process::start("", "", |_| ()).await;
    let before = process.status("VmHWM");
    let mut head = b"GET / HTTP/1.1\r\nhost: x\r\npadding: ".to_vec();
    head.resize(100 * 1024, b'x');
    let heads = connections(&process, 3450, &head).await;
    assert_reachable(&process).await;
    let more = process.status("VmHWM") - before;
    assert!(more < 150 * 1024, "{more} KiB");
    drop(heads);
}

#[tokio::test]
async fn a_client_that_reads_no_answers_keeps_no_thread_busy() {
    let process = Process::start("", "", |_| ()).await;
    let mut stream = TcpStream::connect(process.public).await.unwrap();
    let many = JWKS.repeat(1000);
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_secs(1), stream.write_all(&many)).await {
        written.expect("the connection goes on");
        sent += many.len();
        assert!(sent < 64 * 1024 * 1024, "it takes everything");
    }
    let ticks = || {
        let stat = process.proc("stat");
        let fields = stat.rsplit(") ").next().unwrap().split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
    };
    // What it has read already it may still answer; a thread that waits in a loop never comes to rest.
    for _ in 0..30 {
        let before = ticks();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if ticks() - before < 10 {
            return;
        }
    }
    panic!("it works for half a minute");
}
