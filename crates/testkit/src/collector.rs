//! A server that takes what is posted to it, as an OpenTelemetry collector does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One request that was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The first line and the headers.
    pub head: String,
    /// The bytes of the body.
    pub body: Vec<u8>,
}

/// A collector on a loopback address. It ends with the runtime.
#[derive(Debug)]
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Collector {
    /// Starts one that answers 200, or one that accepts connections and never answers.
    pub async fn start(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let posted: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let kept = Arc::clone(&posted);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    while let Some(request) = read(&mut stream).await {
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                        if answers {
                            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                            let _ = stream.write_all(answer).await;
                        }
                    }
                });
            }
        });
        Self { address, posted }
    }

    /// What was posted so far.
    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what was posted is as it is wanted.
    ///
    /// # Panics
    /// After 20 s.
    pub async fn until(&self, is_wanted: impl Fn(&[Posted]) -> bool) -> Vec<Posted> {
        for _ in 0..1000 {
            let posted = self.posted();
            if is_wanted(&posted) {
                return posted;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the collector has {} requests, and not what is wanted", self.posted().len());
    }
}

/// Reads one request with a length; `None` at the end of the connection.
async fn read(stream: &mut TcpStream) -> Option<Posted> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let (_, length) = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = length.trim().parse().ok()?;
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Posted { head, body })
}
