//! Requests byte by byte, as no HTTP client would send them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TestService;

/// Connects and sends this.
pub(crate) async fn send(service: &TestService, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(service.public).await.expect("a connection");
    stream.write_all(bytes).await.expect("it is sent");
    stream
}

/// Begins a request with a JSON body of which only the first byte is sent.
pub(crate) async fn slow_body(service: &TestService, path: &str) -> TcpStream {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{"
    );
    send(service, head.as_bytes()).await
}

/// Everything that comes until the service closes the connection.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    read.await.expect("the connection is closed in time").expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A whole answer that says how long it is.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = read_head(stream).await;
    let head_length = answer.find("\r\n\r\n").map_or(0, |end| end + 4);
    let length = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    let mut rest = vec![0; (head_length + length).saturating_sub(answer.len())];
    stream.read_exact(&mut rest).await.expect("a body");
    answer.push_str(&String::from_utf8_lossy(&rest));
    answer
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
