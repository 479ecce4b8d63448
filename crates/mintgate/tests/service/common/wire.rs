//! Requests byte by byte, as no HTTP client would send them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TestService;

/// Begins a request with a JSON body of which only the first byte is sent.
pub(crate) async fn slow_body(service: &TestService, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.public).await.expect("a connection");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    stream
}

/// The head of an answer, as text; a part of it if the connection is closed.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer));
        match read.await.expect("an answer in time").expect("an answer") {
            0 => break,
            n => answer.extend_from_slice(&buffer[..n]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}
