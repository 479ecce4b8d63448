//! A line that can be spoilt: TCP on loopback, forwarded until it is told to lose answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::frames::Frames;
use super::rng::Rng;

/// What is spoken on the line, which decides what an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// One request and one answer on a connection.
    Http,
    /// Postgres' protocol. An answer is complete, and its statement committed, with `ReadyForQuery`.
    Postgres,
}

/// How the line is. The whole of it changes at once.
#[derive(Debug, Clone, Copy, Default)]
struct Condition {
    /// Connections of an earlier epoch are cut.
    epoch: u64,
    /// New connections are cut at once.
    refuses: bool,
    /// Nothing is forwarded, nothing is cut.
    paused: bool,
    /// In a thousand requests, how many get lost, they or their answers.
    loses: u64,
}

/// Forwards to one address. Ends with the value.
pub(super) struct Proxy {
    address: SocketAddr,
    condition: watch::Sender<Condition>,
    lost: Arc<AtomicU64>,
    listening: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Proxy {
    pub(super) async fn start(upstream: SocketAddr, speech: Speech, rng: Rng) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (condition, watched) = watch::channel(Condition::default());
        let lost = Arc::<AtomicU64>::default();
        let rng = Arc::new(Mutex::new(rng));
        let counted = Arc::clone(&lost);
        let listening = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                if watched.borrow().refuses {
                    continue;
                }
                let dice = Dice(Arc::clone(&rng));
                let lost = Arc::clone(&counted);
                let line = Line { condition: watched.clone(), dice, lost };
                tokio::spawn(line.connect(client, upstream, speech));
            }
        });
        Ok(Self { address, condition, lost, listening })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many answers, or requests, have got lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// From now on, so many of a thousand answers get lost.
    pub(super) fn lose(&self, per_mille: u64) {
        self.condition.send_modify(|condition| condition.loses = per_mille);
    }

    /// Nothing gets through, and what is connected hangs.
    pub(super) fn pause(&self) {
        self.condition.send_modify(|condition| condition.paused = true);
    }

    /// Every connection is cut, and every new one.
    pub(super) fn cut(&self) {
        self.condition.send_modify(|condition| {
            condition.epoch += 1;
            condition.refuses = true;
        });
    }

    /// A good line again; what was held back arrives.
    pub(super) fn restore(&self) {
        self.condition.send_modify(|condition| {
            *condition = Condition { epoch: condition.epoch, ..Condition::default() };
        });
    }
}

/// The proxy's chance, shared by its connections.
#[derive(Clone)]
struct Dice(Arc<Mutex<Rng>>);

impl Dice {
    fn throw<T>(&self, throw: impl FnOnce(&mut Rng) -> T) -> T {
        throw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What becomes of one HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It never arrives.
    RequestLost,
    /// It arrives, and so many bytes of its answer come back.
    AnswerLost(usize),
}

impl Fate {
    fn draw(rng: &mut Rng, loses: u64) -> Self {
        if !rng.chance(loses) {
            return Self::Answered;
        }
        match rng.below(10) {
            0 => Self::RequestLost,
            1 | 2 => Self::AnswerLost(1 + rng.index(600)),
            _ => Self::AnswerLost(0),
        }
    }
}

/// One connection's view of the proxy.
struct Line {
    condition: watch::Receiver<Condition>,
    dice: Dice,
    lost: Arc<AtomicU64>,
}

impl Line {
    async fn connect(self, client: TcpStream, upstream: SocketAddr, speech: Speech) {
        let Ok(server) = TcpStream::connect(upstream).await else { return };
        // Small messages must not wait for one another.
        let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
        let cut = epoch_ends(self.condition.clone());
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (up, down) = ((from_client, to_server), (from_server, to_client));
        tokio::select! {
            () = cut => {}
            () = async {
                match speech {
                    Speech::Http => self.http(up, down).await,
                    Speech::Postgres => self.postgres(up, down).await,
                }
            } => {}
        }
    }

    async fn http(
        &self,
        up: (OwnedReadHalf, OwnedWriteHalf),
        down: (OwnedReadHalf, OwnedWriteHalf),
    ) {
        let loses = self.condition.borrow().loses;
        let fate = self.dice.throw(|rng| Fate::draw(rng, loses));
        let spoil_request = |_: &mut [u8]| match fate {
            Fate::RequestLost => Spoilt::All,
            Fate::Answered | Fate::AnswerLost(_) => Spoilt::Not,
        };
        let spoil_answer = |bytes: &mut [u8]| match fate {
            // Were the answer shorter, it would have arrived.
            Fate::AnswerLost(left) => Spoilt::After(left.min(bytes.len().saturating_sub(1))),
            Fate::Answered | Fate::RequestLost => Spoilt::Not,
        };
        tokio::select! {
            () = self.pump(up, spoil_request) => {}
            () = self.pump(down, spoil_answer) => {}
        }
    }

    async fn postgres(
        &self,
        up: (OwnedReadHalf, OwnedWriteHalf),
        down: (OwnedReadHalf, OwnedWriteHalf),
    ) {
        let losing = AtomicBool::new(false);
        let (mut asked, mut answered) = (Frames::of_client(), Frames::of_server());
        let hear_client = |bytes: &mut [u8]| {
            let executes = asked.feed(bytes).iter().any(|kind| matches!(kind, b'E' | b'Q'));
            let loses = self.condition.borrow().loses;
            if executes && self.dice.throw(|rng| rng.chance(loses)) {
                losing.store(true, Ordering::SeqCst);
            }
            Spoilt::Not
        };
        let hear_server = |bytes: &mut [u8]| {
            let is_complete = answered.feed(bytes).contains(&b'Z');
            match losing.load(Ordering::SeqCst) {
                true if is_complete => Spoilt::All,
                true => Spoilt::Swallowed,
                false => Spoilt::Not,
            }
        };
        tokio::select! {
            () = self.pump(up, hear_client) => {}
            () = self.pump(down, hear_server) => {}
        }
    }

    /// Forwards until an end closes, or until what comes is spoilt: then the connection is cut.
    async fn pump(
        &self,
        (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
        mut hear: impl FnMut(&mut [u8]) -> Spoilt,
    ) {
        let mut condition = self.condition.clone();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
            if condition.wait_for(|now| !now.paused).await.is_err() {
                return;
            }
            let bytes = &mut buffer[..read];
            let (forwarded, goes_on) = match hear(bytes) {
                Spoilt::Not => (read, true),
                Spoilt::Swallowed => (0, true),
                Spoilt::All => (0, false),
                Spoilt::After(kept) => (kept, false),
            };
            if !goes_on {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            if to.write_all(&bytes[..forwarded]).await.is_err() || !goes_on {
                return;
            }
        }
    }
}

/// How much of what just came is forwarded.
enum Spoilt {
    /// All of it.
    Not,
    /// None of it, and the connection stays.
    Swallowed,
    /// None of it, and the connection is cut.
    All,
    /// So many bytes, and the connection is cut.
    After(usize),
}

async fn epoch_ends(mut condition: watch::Receiver<Condition>) {
    let epoch = condition.borrow().epoch;
    // An error means that the proxy is gone: the same.
    drop(condition.wait_for(|now| now.epoch != epoch).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers `answer` to whatever comes first, counting what it got.
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
        let mut line = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        if line.write_all(question).await.is_ok() {
            // However it is cut, what came before stays read.
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = line.read(&mut buffer).await {
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
        let proxy = Proxy::start(address, Speech::Http, Rng::new(1)).await.unwrap();
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
    async fn a_cut_line_takes_nothing_and_a_paused_one_holds_it_back() {
        let (address, got) = server(b"pong!").await;
        let proxy = Proxy::start(address, Speech::Http, Rng::new(1)).await.unwrap();
        proxy.cut();
        assert_eq!(ask(proxy.address(), b"ping").await, b"");
        assert_eq!(got.load(Ordering::SeqCst), 0);
        proxy.restore();
        proxy.pause();
        let asked = tokio::spawn(ask(proxy.address(), b"ping"));
        // Meanwhile another line to the same server works, and no more than that arrives.
        let other = Proxy::start(address, Speech::Http, Rng::new(1)).await.unwrap();
        for number in 1..=20 {
            assert_eq!(ask(other.address(), b"ping").await, b"pong!");
            assert_eq!(got.load(Ordering::SeqCst), number);
        }
        assert!(!asked.is_finished());
        proxy.restore();
        assert_eq!(asked.await.unwrap(), b"pong!");
    }

    #[tokio::test]
    async fn a_statements_answer_is_swallowed_whole_and_then_the_line_is_cut() {
        const ANSWER: &[u8] = b"C\0\0\0\x05xZ\0\0\0\x05I";
        let (address, got) = server(ANSWER).await;
        let proxy = Proxy::start(address, Speech::Postgres, Rng::new(1)).await.unwrap();
        let startup = b"\0\0\0\x08\0\x03\0\0".as_slice();
        let execute = b"E\0\0\0\x05x".as_slice();
        proxy.lose(1000);
        assert_eq!(ask(proxy.address(), startup).await, ANSWER, "no statement was executed yet");
        assert_eq!(ask(proxy.address(), &[startup, execute].concat()).await, b"");
        assert_eq!((proxy.lost(), got.load(Ordering::SeqCst)), (1, 2));
    }
}
