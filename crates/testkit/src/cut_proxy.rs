//! A small TCP proxy that a test can cut, pause and restore: a network that breaks on request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards TCP connections to one address until it is told otherwise.
#[derive(Debug)]
pub struct CutProxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    round_trips: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    /// Connections of an earlier epoch are closed.
    epoch: usize,
    /// New connections are closed at once.
    refuses: bool,
    /// Nothing is forwarded; connections stay open.
    paused: bool,
}

impl CutProxy {
    /// Listens on a port of its own in front of `upstream` (`host:port`).
    pub async fn start(upstream: impl Into<String>) -> Self {
        let upstream = upstream.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (line, watched) = watch::channel(Line { epoch: 0, refuses: false, paused: false });
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.accepted.fetch_add(1, Ordering::Relaxed);
                // The proxy itself is gone.
                if watched.has_changed().is_err() {
                    return;
                }
                if !watched.borrow().refuses {
                    tokio::spawn(forward(
                        client,
                        upstream.clone(),
                        watched.clone(),
                        counted.clone(),
                    ));
                }
            }
        });
        Self { address, line, counts }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted so far, refused ones included.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// How often a client spoke after its server had: on connections where one waits for the
    /// other, the number of round trips.
    pub fn round_trips(&self) -> usize {
        self.counts.round_trips.load(Ordering::Relaxed)
    }

    /// Closes every connection; new ones work.
    pub fn sever(&self) {
        self.line.send_modify(|line| line.epoch += 1);
    }

    /// Closes every connection, and new ones too, until it is restored.
    pub fn cut(&self) {
        self.line.send_modify(|line| {
            line.epoch += 1;
            line.refuses = true;
        });
    }

    /// Forwards nothing any more; connections stay open, as with a server that hangs.
    pub fn pause(&self) {
        self.line.send_modify(|line| line.paused = true);
    }

    /// Works again; what was held back while paused arrives now.
    pub fn restore(&self) {
        self.line.send_modify(|line| {
            line.refuses = false;
            line.paused = false;
        });
    }
}

async fn forward(
    client: TcpStream,
    upstream: String,
    line: watch::Receiver<Line>,
    counts: Arc<Counts>,
) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let server_spoke = AtomicBool::new(true);
    let client_speaks = || {
        if server_spoke.swap(false, Ordering::Relaxed) {
            counts.round_trips.fetch_add(1, Ordering::Relaxed);
        }
    };
    let server_speaks = || server_spoke.store(true, Ordering::Relaxed);
    tokio::select! {
        () = pump(from_client, to_server, line.clone(), client_speaks) => {}
        () = pump(from_server, to_client, line.clone(), server_speaks) => {}
        () = epoch_ends(line) => {}
    }
}

async fn epoch_ends(mut line: watch::Receiver<Line>) {
    let epoch = line.borrow().epoch;
    // An error means the same: the proxy is gone.
    drop(line.wait_for(|now| now.epoch != epoch).await);
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    speaks: impl Fn(),
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if line.wait_for(|now| !now.paused).await.is_err() {
            return;
        }
        speaks();
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
