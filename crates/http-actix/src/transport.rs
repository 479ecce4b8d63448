//! What a connection's bytes go over: TCP, or TLS over TCP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::rt::net::TcpStream;
use mintgate_tls::{ClientCertificate, Pair};
use openssl::x509::X509VerifyResult;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

/// An established connection.
pub(crate) enum Transport {
    /// Its bytes are read by everybody on the way.
    Plain(TcpStream),
    /// Its bytes are encrypted.
    Tls(SslStream<TcpStream>, Option<Box<ClientCertificate>>),
}

/// The protocol in which a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Makes the handshake of TLS, with the client's choice of a protocol (RFC 7301). If it is `ended` before, for
/// example since the client takes too long, that is an error.
pub(crate) async fn handshake(
    stream: TcpStream,
    pair: &Pair,
    ended: impl Future<Output = ()>,
) -> io::Result<(Transport, Protocol)> {
    let connection = pair.connection().map_err(io::Error::other)?;
    let mut stream = SslStream::new(connection, stream).map_err(io::Error::other)?;
    tokio::select! {
        biased;
        () = ended => return Err(io::ErrorKind::TimedOut.into()),
        accepted = Pin::new(&mut stream).accept() => if let Err(error) = accepted {
            let refused = stream.ssl().verify_result();
            if refused == X509VerifyResult::OK {
                tracing::debug!(%error, "a handshake failed");
            } else {
                let peer = stream.get_ref().peer_addr().ok().map(|peer| peer.ip().to_string());
                tracing::warn!(peer, reason = %refused, "a client certificate was refused");
            }
            return Err(io::Error::other(error));
        },
    }
    let protocol = match stream.ssl().selected_alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let client = ClientCertificate::of(stream.ssl(), pair).map(Box::new);
    Ok((Transport::Tls(stream, client), protocol))
}

impl Transport {
    /// The address of the other side; `None` if the connection is gone.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.peer_addr().ok(),
            Self::Tls(stream, _) => stream.get_ref().peer_addr().ok(),
        }
    }

    /// The certificate that the client has shown.
    pub(crate) fn client(&self) -> Option<&ClientCertificate> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(_, client) => client.as_deref(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream, _) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream, _) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
