//! A service that stops behind a load balancer which does not know it yet.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::common::process::Process;
use crate::common::session::REFRESH;
use crate::common::wire::{read_answer, read_head};
use crate::common::{Options, Store, TestService, bare};

const JWKS: &str = "/.well-known/jwks.json";
const LONG: Duration = Duration::from_secs(20);

/// A plain TCP balancer: it knows no HTTP and tries nothing again.
#[derive(Clone)]
struct Balancer {
    address: SocketAddr,
    targets: Arc<[Target; 2]>,
}

struct Target {
    address: Mutex<SocketAddr>,
    is_listed: AtomicBool,
    connections: AtomicUsize,
}

impl Balancer {
    async fn before(addresses: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = |address| Target {
            address: Mutex::new(address),
            is_listed: AtomicBool::new(true),
            connections: AtomicUsize::new(0),
        };
        let balancer = Self {
            address: listener.local_addr().unwrap(),
            targets: Arc::new(addresses.map(target)),
        };
        tokio::spawn(balancer.clone().run(listener));
        balancer
    }

    async fn run(self, listener: TcpListener) {
        for turn in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            let targets = self.targets.clone();
            tokio::spawn(async move {
                let listed =
                    targets.iter().filter(|target| target.is_listed.load(Ordering::SeqCst));
                let listed: Vec<_> = listed.collect();
                let target = listed[turn % listed.len()];
                target.connections.fetch_add(1, Ordering::SeqCst);
                let address = *target.address.lock().unwrap();
                if let Ok(mut server) = TcpStream::connect(address).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    }

    /// How many connections it has sent to a target.
    fn sent_to(&self, index: usize) -> usize {
        self.targets[index].connections.load(Ordering::SeqCst)
    }
}

async fn get_jwks(stream: &mut TcpStream) -> String {
    let request = format!("GET {JWKS} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    timeout(LONG, read_answer(stream)).await.expect("an answer in time")
}

fn closes(answer: &str) -> bool {
    answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
}

async fn draining(seconds: u32) -> Process {
    Process::start("", "", |command| {
        command.env("MINTGATE__SERVER__DRAIN_SECS", seconds.to_string());
    })
    .await
}

/// Returns once the readiness check fails.
async fn until_unready(process: &Process) {
    for _ in 0..500 {
        if process.ops("/health/ready").await.unwrap().0 == StatusCode::SERVICE_UNAVAILABLE {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it stays ready");
}

#[tokio::test]
async fn connections_that_a_balancer_goes_on_sending_are_answered() {
    let (mut leaving, staying) = tokio::join!(draining(3), draining(0));
    let balancer = Balancer::before([leaving.public, staying.public]).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (address, is_over) = (balancer.address, Arc::clone(&is_over));
        clients.spawn(async move {
            let (mut asked, mut failed) = (0, Vec::new());
            while !is_over.load(Ordering::SeqCst) {
                asked += 1;
                let mut stream = TcpStream::connect(address).await.unwrap();
                let answer = get_jwks(&mut stream).await;
                if !answer.starts_with("HTTP/1.1 200 ") {
                    failed.push(answer);
                }
            }
            (asked, failed)
        });
    }
    leaving.signal("TERM");
    until_unready(&leaving).await;
    let before = balancer.sent_to(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    balancer.targets[0].is_listed.store(false, Ordering::SeqCst);
    assert!(balancer.sent_to(0) > before, "it was sent nothing");
    assert_eq!(leaving.exit_code(10).await, Some(0));
    is_over.store(true, Ordering::SeqCst);
    let mut all = 0;
    while let Some(ended) = clients.join_next().await {
        let (asked, failed) = ended.unwrap();
        assert_eq!(failed, Vec::<String>::new());
        all += asked;
    }
    assert!(all > 20, "{all}");
}

#[tokio::test]
async fn while_it_drains_each_connection_ends_behind_an_answer_and_none_before_one() {
    let mut process = draining(2).await;
    let mut used = TcpStream::connect(process.public).await.unwrap();
    assert!(!closes(&get_jwks(&mut used).await));
    let mut idle = TcpStream::connect(process.public).await.unwrap();
    assert!(!closes(&get_jwks(&mut idle).await));
    let mut unused = TcpStream::connect(process.public).await.unwrap();
    let _silent = TcpStream::connect(process.public).await.unwrap();
    process.signal("TERM");
    until_unready(&process).await;
    assert_eq!(process.ops("/health/live").await.unwrap().0, StatusCode::OK);
    let mut late = TcpStream::connect(process.public).await.unwrap();
    for stream in [&mut used, &mut late] {
        assert!(closes(&get_jwks(stream).await));
        assert_eq!(timeout(LONG, read_head(stream)).await.expect("it is closed"), "");
    }
    // What has carried no request since then is closed at the end, long before the last request may take to end.
    let soon = Duration::from_secs(6);
    assert_eq!(timeout(soon, read_head(&mut idle)).await.expect("it is closed"), "");
    // One that waits for its first request may still send it.
    let answer = get_jwks(&mut unused).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && closes(&answer), "{answer}");
    // Nobody waits for one that sends nothing.
    assert_eq!(process.exit_code(5).await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_service_that_drains_at_once() {
    let mut process = draining(600).await;
    let mut stream = TcpStream::connect(process.public).await.unwrap();
    stream.write_all(format!("POST {REFRESH} HTTP/1.1\r\n").as_bytes()).await.unwrap();
    process.signal("TERM");
    until_unready(&process).await;
    process.signal("INT");
    assert_eq!(process.exit_code(5).await, Some(0));
}

#[tokio::test]
async fn without_draining_a_connection_is_refused_or_answered() {
    let mut process = draining(0).await;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let address = process.public;
        clients.spawn(async move {
            let mut answered = 0;
            while let Ok(Ok(mut stream)) = timeout(LONG, TcpStream::connect(address)).await {
                let answer = get_jwks(&mut stream).await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "after {answered}: {answer:?}");
                answered += 1;
            }
            answered
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    process.signal("TERM");
    while let Some(answered) = clients.join_next().await {
        assert!(answered.unwrap() > 0);
    }
    assert_eq!(process.exit_code(10).await, Some(0));
}

/// Refreshes again and again, on connections that it keeps, and never twice; how often it did.
async fn refreshing(balancer: SocketAddr, mut token: String, is_over: Arc<AtomicBool>) -> usize {
    let mut kept = None;
    let mut count = 0;
    while !is_over.load(Ordering::SeqCst) {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => TcpStream::connect(balancer).await.unwrap(),
        };
        let body = format!("{{\"refreshToken\":\"{token}\"}}");
        let head = format!(
            "POST {REFRESH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all([head, body].concat().as_bytes()).await.unwrap();
        let answer = timeout(LONG, read_answer(&mut stream)).await.expect("an answer in time");
        assert!(answer.starts_with("HTTP/1.1 200 "), "after {count}: {answer:?}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        body["refreshToken"].as_str().unwrap().clone_into(&mut token);
        if !closes(&answer) {
            kept = Some(stream);
        }
        count += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    count
}

#[tokio::test]
async fn refreshes_on_kept_connections_do_not_fail_while_replicas_are_replaced() {
    if !mintgate_testkit::postgres::is_given() {
        return;
    }
    let options = Options {
        more: "[tokens]\nbody_delivery = true".to_owned(),
        server: "drain_secs = 2",
        ..Options::default()
    };
    let service = TestService::start_with(Store::Postgres, options).await;
    let (first, second) = tokio::join!(service.replica_process(), service.replica_process());
    let balancer = Balancer::before([first.public, second.public]).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let mut login = bare(&service.code());
        login["tokenDelivery"] = "body".into();
        let answer = service.post(&login).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        let token = body["refreshToken"].as_str().unwrap().to_owned();
        clients.spawn(refreshing(balancer.address, token, Arc::clone(&is_over)));
    }
    let mut replicas = [first, second];
    for index in [0, 1] {
        let replica = &mut replicas[index];
        replica.signal("TERM");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let target = &balancer.targets[index];
        target.is_listed.store(false, Ordering::SeqCst);
        assert_eq!(replica.exit_code(15).await, Some(0));
        *replica = service.replica_process().await;
        *target.address.lock().unwrap() = replica.public;
        target.is_listed.store(true, Ordering::SeqCst);
    }
    is_over.store(true, Ordering::SeqCst);
    while let Some(count) = clients.join_next().await {
        assert!(count.unwrap() > 20);
    }
}
