//! A forward proxy, as companies have one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A forward proxy (RFC 9110 §7.7, §9.3.6) for those who know its password; stops when dropped.
pub struct ForwardProxy {
    /// The address that the proxy listens at.
    pub address: SocketAddr,
    state: Arc<ProxyState>,
    listening: JoinHandle<()>,
}

struct ProxyState {
    /// What the header `Proxy-Authorization` must be, in lower case.
    authorization: String,
    /// The names that it knows, with their ports.
    names: HashMap<String, SocketAddr>,
    /// The method and target of each request that it has carried out.
    asked: Mutex<Vec<String>>,
}

impl ForwardProxy {
    /// Starts one that knows these names, each with its port, and where each leads.
    pub async fn start(
        credentials: &str,
        names: impl IntoIterator<Item = (&str, SocketAddr)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let basic = format!("basic {}", BASE64_STANDARD.encode(credentials).to_ascii_lowercase());
        let names = names.into_iter().map(|(name, to)| (name.to_owned(), to)).collect();
        let asked = Mutex::default();
        let state = Arc::new(ProxyState { authorization: basic, names, asked });
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move { state.serve(client).await });
            }
        });
        Self { address, state, listening }
    }

    /// The method and target of each request that it has carried out.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl ProxyState {
    /// Carries out one request, or opens one tunnel.
    async fn serve(&self, mut client: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = client.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let (line, headers) = head.split_once("\r\n").unwrap();
        let (method, target) = line.strip_suffix(" HTTP/1.1").unwrap().split_once(' ').unwrap();
        let lower = headers.to_ascii_lowercase();
        let known = lower.lines().any(|header| {
            header.strip_prefix("proxy-authorization: ") == Some(self.authorization.as_str())
        });
        if !known {
            let refusal =
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\
                            Content-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = client.write_all(refusal).await;
            return;
        }
        self.asked.lock().unwrap().push(format!("{method} {target}"));
        if method == "CONNECT" {
            let Some(server) = self.names.get(target) else {
                let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
                return;
            };
            let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
            return forward(client, *server).await;
        }
        let (host, path) = target.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut server = TcpStream::connect(host).await.unwrap();
        let head = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\n{headers}");
        let _ = server.write_all(head.as_bytes()).await;
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

/// Connects a client with a server until one of them ends.
pub(crate) async fn forward(mut client: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(to).await {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
