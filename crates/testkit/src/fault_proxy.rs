//! A TCP proxy on loopback that fails on request: it cuts, pauses, and loses requests and answers.

mod postgres_messages;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::SeededEntropy;
use postgres_messages::MessageReader;

/// Forwards TCP connections to one address; stops listening when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    counts: Arc<Counts>,
    listening: JoinHandle<()>,
}

/// The protocol on the connections, which decides what a lost answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Unknown bytes, of which none get lost.
    Any,
    /// HTTP/1.1 with one request for each connection.
    Http,
    /// Postgres. An answer ends with `ReadyForQuery`; the statement has been committed by then.
    Postgres,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    round_trips: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Connections opened in an earlier epoch are closed.
    epoch: u64,
    /// New connections are closed at once.
    refuses: bool,
    /// Nothing is forwarded; connections stay open.
    paused: bool,
    /// How many of a thousand requests get lost, or their answers.
    losses_per_mille: u64,
}

impl FaultProxy {
    /// Listens on a free port in front of `upstream` (`host:port`).
    pub async fn start(upstream: impl Into<String>) -> Self {
        Self::start_for(upstream, Protocol::Any, SeededEntropy::new(0)).await
    }

    /// Listens in front of a server of a known protocol. `entropy` chooses what gets lost.
    pub async fn start_for(
        upstream: impl Into<String>,
        protocol: Protocol,
        entropy: SeededEntropy,
    ) -> Self {
        let (upstream, entropy) = (upstream.into(), Arc::new(entropy));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, watched) = watch::channel(State::default());
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.accepted.fetch_add(1, Ordering::Relaxed);
                if !watched.borrow().refuses {
                    let connection = Connection {
                        state: watched.clone(),
                        counts: Arc::clone(&counted),
                        entropy: Arc::clone(&entropy),
                        server_spoke: AtomicBool::new(true),
                    };
                    tokio::spawn(connection.forward(client, upstream.clone(), protocol));
                }
            }
        });
        Self { address, state, counts, listening }
    }

    /// The address that the proxy listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted so far, refused ones included.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// The number of round trips: how many times a client sent something after its server had.
    pub fn round_trips(&self) -> usize {
        self.counts.round_trips.load(Ordering::Relaxed)
    }

    /// How many requests or answers got lost so far.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Loses this many of a thousand requests, or their answers, until [`Self::restore`].
    pub fn lose(&self, per_mille: u64) {
        self.state.send_modify(|state| state.losses_per_mille = per_mille);
    }

    /// Closes every open connection; new ones work.
    pub fn sever(&self) {
        self.state.send_modify(|state| state.epoch += 1);
    }

    /// Closes every connection, and new ones too, until [`Self::restore`].
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.epoch += 1;
            state.refuses = true;
        });
    }

    /// Forwards nothing until [`Self::restore`]; connections stay open, as with a server that hangs.
    pub fn pause(&self) {
        self.state.send_modify(|state| state.paused = true);
    }

    /// Ends all faults; what was held back by a pause arrives now.
    pub fn restore(&self) {
        self.state.send_modify(|state| *state = State { epoch: state.epoch, ..State::default() });
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// How much of the bytes that have just arrived is forwarded.
enum Forward {
    All,
    /// Nothing is forwarded, and the connection stays open.
    Nothing,
    /// The first bytes, as many as this says; then the connection is closed.
    ThenClose(usize),
}

/// The fault that one HTTP request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HttpFault {
    Answered,
    RequestLost,
    /// The request arrives, and only this many bytes of its answer come back.
    AnswerLost(usize),
}

impl HttpFault {
    fn draw(entropy: &SeededEntropy, losses_per_mille: u64) -> Self {
        if !entropy.chance(losses_per_mille) {
            return Self::Answered;
        }
        match entropy.below(10) {
            0 => Self::RequestLost,
            1 | 2 => Self::AnswerLost(1 + entropy.index(600)),
            _ => Self::AnswerLost(0),
        }
    }
}

struct Connection {
    state: watch::Receiver<State>,
    counts: Arc<Counts>,
    entropy: Arc<SeededEntropy>,
    server_spoke: AtomicBool,
}

impl Connection {
    async fn forward(self, client: TcpStream, upstream: String, protocol: Protocol) {
        let Ok(server) = TcpStream::connect(upstream).await else { return };
        // Small messages must not wait for one another.
        let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (up, down) = ((from_client, to_server), (from_server, to_client));
        let forwarded = async {
            match protocol {
                Protocol::Any => self.pump_both(up, down, |_| Forward::All, |_| Forward::All).await,
                Protocol::Http => self.http(up, down).await,
                Protocol::Postgres => self.postgres(up, down).await,
            }
        };
        tokio::select! {
            () = epoch_ends(self.state.clone()) => {}
            () = forwarded => {}
        }
    }

    async fn http(&self, up: Direction, down: Direction) {
        let fault = HttpFault::draw(&self.entropy, self.state.borrow().losses_per_mille);
        let on_request = |_: &[u8]| match fault {
            HttpFault::RequestLost => Forward::ThenClose(0),
            HttpFault::Answered | HttpFault::AnswerLost(_) => Forward::All,
        };
        let on_answer = |bytes: &[u8]| match fault {
            // A shorter answer would arrive whole.
            HttpFault::AnswerLost(kept) => {
                Forward::ThenClose(kept.min(bytes.len().saturating_sub(1)))
            }
            HttpFault::Answered | HttpFault::RequestLost => Forward::All,
        };
        self.pump_both(up, down, on_request, on_answer).await;
    }

    async fn postgres(&self, up: Direction, down: Direction) {
        let losing = AtomicBool::new(false);
        let (mut asked, mut answered) = (MessageReader::of_client(), MessageReader::of_server());
        let on_request = |bytes: &[u8]| {
            let executes = asked.feed(bytes).iter().any(|kind| matches!(kind, b'E' | b'Q'));
            if executes && self.entropy.chance(self.state.borrow().losses_per_mille) {
                losing.store(true, Ordering::SeqCst);
            }
            Forward::All
        };
        let on_answer = |bytes: &[u8]| {
            let is_complete = answered.feed(bytes).contains(&b'Z');
            match losing.load(Ordering::SeqCst) {
                true if is_complete => Forward::ThenClose(0),
                true => Forward::Nothing,
                false => Forward::All,
            }
        };
        self.pump_both(up, down, on_request, on_answer).await;
    }

    async fn pump_both(
        &self,
        up: Direction,
        down: Direction,
        mut on_request: impl FnMut(&[u8]) -> Forward,
        on_answer: impl FnMut(&[u8]) -> Forward,
    ) {
        let counting = |bytes: &[u8]| {
            if self.server_spoke.swap(false, Ordering::Relaxed) {
                self.counts.round_trips.fetch_add(1, Ordering::Relaxed);
            }
            on_request(bytes)
        };
        let mut on_answer = on_answer;
        let noting = |bytes: &[u8]| {
            self.server_spoke.store(true, Ordering::Relaxed);
            on_answer(bytes)
        };
        tokio::select! {
            () = self.pump(up, counting) => {}
            () = self.pump(down, noting) => {}
        }
    }

    /// Forwards one direction until an end closes it or `decide` does.
    async fn pump(&self, (mut from, mut to): Direction, mut decide: impl FnMut(&[u8]) -> Forward) {
        let mut state = self.state.clone();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
            if state.wait_for(|now| !now.paused).await.is_err() {
                return;
            }
            let (kept, goes_on) = match decide(&buffer[..read]) {
                Forward::All => (read, true),
                Forward::Nothing => (0, true),
                Forward::ThenClose(kept) => (kept, false),
            };
            if !goes_on {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
            }
            if to.write_all(&buffer[..kept]).await.is_err() || !goes_on {
                return;
            }
        }
    }
}

type Direction = (OwnedReadHalf, OwnedWriteHalf);

async fn epoch_ends(mut state: watch::Receiver<State>) {
    let epoch = state.borrow().epoch;
    // An error means that the proxy was dropped, which ends its connections too.
    drop(state.wait_for(|now| now.epoch != epoch).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn proxy(server: SocketAddr, protocol: Protocol) -> FaultProxy {
        FaultProxy::start_for(server.to_string(), protocol, SeededEntropy::new(1)).await
    }

    /// A server that answers `answer` to everything, and the number of requests it has got.
    async fn server(answer: &'static [u8]) -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&got);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(1..) = client.read(&mut buffer).await {
                        counted.fetch_add(1, Ordering::SeqCst);
                        client.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        (address, got)
    }

    async fn ask(address: SocketAddr, question: &[u8]) -> Vec<u8> {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        if connection.write_all(question).await.is_ok() {
            // What arrived before a cut stays read.
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = connection.read(&mut buffer).await {
                answer.extend_from_slice(&buffer[..read]);
                if answer.len() >= 5 {
                    break;
                }
            }
        }
        answer
    }

    #[tokio::test]
    async fn an_answer_is_lost_after_its_request_went_through() {
        let (address, got) = server(b"pong!").await;
        let proxy = proxy(address, Protocol::Http).await;
        assert_eq!(ask(proxy.address(), b"ping").await, b"pong!");
        proxy.lose(1000);
        for _ in 0..20 {
            assert_ne!(ask(proxy.address(), b"ping").await, b"pong!");
        }
        assert_eq!(proxy.lost(), 20);
        let arrived = got.load(Ordering::SeqCst);
        assert!((15..=21).contains(&arrived), "{arrived} of 21 requests arrived");
        proxy.restore();
        assert_eq!(ask(proxy.address(), b"ping").await, b"pong!");
    }

    #[tokio::test]
    async fn a_cut_proxy_forwards_nothing_and_a_paused_one_holds_it_back() {
        let (address, got) = server(b"pong!").await;
        let cut = proxy(address, Protocol::Any).await;
        cut.cut();
        assert_eq!(ask(cut.address(), b"ping").await, b"");
        assert_eq!(got.load(Ordering::SeqCst), 0);
        cut.restore();
        cut.pause();
        let asked = tokio::spawn(ask(cut.address(), b"ping"));
        // Meanwhile another proxy to the same server works, and no more than that arrives.
        let other = proxy(address, Protocol::Any).await;
        for number in 1..=20 {
            assert_eq!(ask(other.address(), b"ping").await, b"pong!");
            assert_eq!(got.load(Ordering::SeqCst), number);
        }
        assert!(!asked.is_finished());
        cut.restore();
        assert_eq!(asked.await.unwrap(), b"pong!");
        assert_eq!((other.accepted(), other.round_trips()), (20, 20));
    }

    #[tokio::test]
    async fn a_statements_answer_is_lost_whole_and_then_the_connection_is_cut() {
        const ANSWER: &[u8] = b"C\0\0\0\x05xZ\0\0\0\x05I";
        let (address, got) = server(ANSWER).await;
        let proxy = proxy(address, Protocol::Postgres).await;
        let startup = b"\0\0\0\x08\0\x03\0\0".as_slice();
        let execute = b"E\0\0\0\x05x".as_slice();
        proxy.lose(1000);
        assert_eq!(ask(proxy.address(), startup).await, ANSWER, "no statement was executed yet");
        assert_eq!(ask(proxy.address(), &[startup, execute].concat()).await, b"");
        assert_eq!((proxy.lost(), got.load(Ordering::SeqCst)), (1, 2));
    }
}
