//! `mintgate health`: asks the service of this machine whether it lives or is ready, for container engines and
//! other programs that start the command every few seconds.

use std::fmt::Display;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mintgate_settings::{ConfigError, OpsSettings};
use openssl::ssl::{Ssl, SslContext, SslMethod};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::operations_listener::reachable;

/// How long the question may take, from the connection to the end of the answer. The command ends within 2 s.
const PATIENCE: Duration = Duration::from_millis(1800);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;
/// How much of an answer is shown, in characters.
const SHOWN: usize = 300;

/// What is asked.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct HealthCommand {
    /// Ask whether the service is ready for requests, which needs the store. Otherwise, whether it lives.
    #[arg(long)]
    ready: bool,
}

impl HealthCommand {
    /// Asks the operations listener of this configuration: whether the answer is good, and one line with the
    /// answer or the reason.
    ///
    /// It is asked on this machine, so its certificate is not verified.
    pub async fn run(self, ops: Result<OpsSettings, ConfigError>) -> (bool, String) {
        let (path, good) =
            if self.ready { ("/health/ready", "ready") } else { ("/health/live", "live") };
        let asked = async {
            let ops = ops?;
            let address = reachable(ops.listen);
            ensure!(address.port() != 0, "ops.listen has the port 0: write a port to be found at");
            let asked = ask(address, ops.tls.is_some(), path);
            let answered = tokio::time::timeout(PATIENCE, asked).await;
            let answered = answered.map_err(anyhow::Error::from).and_then(|answered| answered);
            answered.with_context(|| format!("{address}{path} (ops.listen)"))
        };
        match asked.await {
            Ok(()) => (true, good.to_owned()),
            Err(error) => (false, format!("not {good}: {}", in_one_line(format!("{error:#}")))),
        }
    }
}

async fn ask(address: SocketAddr, speaks_tls: bool, path: &str) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await.context("no connection")?;
    if !speaks_tls {
        return exchange(stream, address, path).await;
    }
    // It verifies nothing, and so need not read the authorities of this machine.
    let context = SslContext::builder(SslMethod::tls_client())?.build();
    let mut stream = SslStream::new(Ssl::new(&context)?, stream)?;
    Pin::new(&mut stream).connect().await.context("no TLS")?;
    exchange(stream, address, path).await
}

/// Asks for `path`; an error unless the answer has the status 200 (RFC 9112 §4).
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let read = stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await;
    // Whatever ends the connection behind an answer, there is one.
    if answer.is_empty() {
        read?;
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| status.parse::<u16>().ok());
    let status = status.context("the answer is not HTTP/1.1: is it another service?")?;
    ensure!(status == 200, "answered {status}: {body}");
    Ok(())
}

/// A text without line ends, other control characters and its later part.
fn in_one_line(text: impl Display) -> String {
    let text = text.to_string();
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words = words.into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(in_one_line("a\r\n  b\u{1b}[31m\tc"), "a b [31m c");
        assert_eq!(in_one_line("é".repeat(1000)).chars().count(), SHOWN);
    }
}
