//! The stream of one connection, as the HTTP library reads and writes it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::runtime::Handle;

use crate::connections::{Admitted, Fate, Link, Open};
use crate::error::{ApiError, ErrorKind, HttpErrorCode};
use crate::transport::Transport;
use crate::{envelope, gateway};

/// How many bytes are read before the HTTP library looks at what there is.
const READ_AT_ONCE: usize = 8 * 1024;
/// How much of what a client still sends is read, and for how long, before the connection is closed: a
/// client that is not read from loses the answer (RFC 9112 §9.6).
const LINGER_BYTES: u64 = 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(1);
/// Ends any head: no part of one may have it (RFC 9110 §5.5, RFC 9112 §2.2).
const NUL: u8 = 0;

/// A connection. Reading from it stops where [`Link`] says so, and where the HTTP library refuses
/// something by itself, which it does without a body, the refusal becomes one of ours.
pub(crate) struct Connection {
    /// Taken when this is dropped.
    stream: Option<Transport>,
    link: Rc<Link>,
    admitted: Admitted,
    /// How much was read since the HTTP library has looked.
    read: usize,
    /// Whether the client does not read what is written to it.
    is_blocked: bool,
    /// Whether the head has got what ends it.
    is_spoilt: bool,
    refusal: Option<Refusal>,
}

/// The answer that takes the place of the HTTP library's.
struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

impl Refusal {
    fn poll_write(
        &mut self,
        mut stream: Pin<&mut Transport>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            self.written += ready!(stream.as_mut().poll_write(context, rest))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Connection {
    /// A connection that has been admitted and is established.
    pub(crate) fn new(stream: Transport, admitted: Admitted) -> Self {
        Self {
            stream: Some(stream),
            link: Rc::clone(&admitted.link),
            admitted,
            read: 0,
            is_blocked: false,
            is_spoilt: false,
            refusal: None,
        }
    }

    /// What the connection and its requests tell each other.
    pub(crate) fn link(&self) -> &Rc<Link> {
        &self.link
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Transport>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.link.fate() == Fate::GoesOn
            && self.link.is_full(self.admitted.connections.state.limits.max_header_bytes)
        {
            if self.link.head_since().is_none() {
                self.link.pause(context.waker());
                return Poll::Pending;
            }
            self.link.end(Fate::Refuse(HttpErrorCode::HeadersTooLarge));
        }
        match self.link.fate() {
            Fate::GoesOn if self.read >= READ_AT_ONCE => {
                self.link.remember_reader(context.waker());
                // If the client does not read, its reading wakes the task; to wake it now would
                // keep the thread busy.
                if !self.is_blocked {
                    context.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            Fate::GoesOn => {}
            Fate::Refuse(_) if self.link.has_received() && !self.is_spoilt => {
                self.is_spoilt = true;
                buffer.put_slice(&[NUL]);
                return Poll::Ready(Ok(()));
            }
            // The end of the stream.
            Fate::Refuse(_) | Fate::Close | Fate::MakeRoom => return Poll::Ready(Ok(())),
        }
        let before = buffer.filled().len();
        let read = self.stream()?.poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        self.read += count;
        if !self.link.has_received() {
            give_length(buffer, before);
            if count > 0 {
                let prefix = &self.admitted.connections.state.path_prefix;
                let head = &buffer.filled()[before..];
                self.link.begin_head(gateway::is_question_of(head, prefix));
            }
        }
        self.link.receive(count);
        if read.is_pending() {
            if self.link.is_let_go() {
                // The end of the stream.
                return Poll::Ready(Ok(()));
            }
            self.link.remember_reader(context.waker());
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.link.fate() == Fate::MakeRoom {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.refusal.is_none()
            && let Some(since) = self.link.head_since()
            && let Some(kind) = refused_by_library(bytes)
        {
            let kind = match self.link.fate() {
                Fate::Refuse(code) => code.into(),
                _ => kind,
            };
            // A client that has sent nothing asked for nothing.
            let bytes = if self.link.has_received() {
                let peer = self.stream.as_ref().and_then(Transport::peer);
                let state = &self.admitted.connections.state;
                let is_too_large = kind == HttpErrorCode::HeadersTooLarge.into();
                let refusal = if is_too_large && self.link.is_question() {
                    gateway::too_large(state)
                } else {
                    ApiError::new(kind).because("the head cannot be read")
                };
                envelope::refuse_unread(state, refusal, since, peer)
            } else {
                Vec::new()
            };
            self.refusal = Some(Refusal { bytes, written: 0 });
        }
        let this = &mut *self;
        let written = match (&mut this.stream, &mut this.refusal) {
            (None, _) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            (Some(stream), None) => Pin::new(stream).poll_write(context, bytes),
            (Some(stream), Some(refusal)) => {
                refusal.poll_write(Pin::new(stream), context).map_ok(|()| bytes.len())
            }
        };
        self.is_blocked = written.is_pending();
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.read = 0;
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let may_send_more =
            self.refusal.is_some() || matches!(self.link.fate(), Fate::Close | Fate::Refuse(_));
        if may_send_more
            && let (Some(stream), Some(open)) = (self.stream.take(), self.admitted.open.take())
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(linger(stream, open));
        }
    }
}

/// Gives a POST of HTTP/1.0 that has no body the length 0, without which the HTTP library refuses it.
/// Proxies that speak HTTP/1.0 pass such requests on as they come.
fn give_length(buffer: &mut ReadBuf<'_>, start: usize) {
    const NO_BODY: &[u8] = b"content-length: 0\r\n\r\n";
    let is_one = str::from_utf8(&buffer.filled()[start..]).is_ok_and(|head| {
        // The whole head, and nothing behind it.
        let whole = head.strip_suffix("\r\n\r\n").filter(|head| !head.contains("\r\n\r\n"));
        let lines = whole.map(|head| head.split_once("\r\n").unwrap_or((head, "")));
        lines.is_some_and(|(request, headers)| {
            let is_post = request.starts_with("POST ") && request.ends_with(" HTTP/1.0");
            is_post && !headers.split("\r\n").any(says_length)
        })
    });
    if is_one && buffer.remaining() >= NO_BODY.len() {
        buffer.set_filled(buffer.filled().len() - 2);
        buffer.put_slice(NO_BODY);
    }
}

/// Whether a header says how long a body is (RFC 9112 §6.3).
fn says_length(header: &str) -> bool {
    let name = header.split(':').next().unwrap_or_default().trim_ascii();
    ["content-length", "transfer-encoding"].iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Sends what is written, and reads for a moment what the client still sends.
async fn linger(mut stream: Transport, _open: Open) {
    let _ = stream.shutdown().await;
    let rest = async {
        let mut buffer = [0; 1024];
        let mut stream = stream.take(LINGER_BYTES);
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    };
    let _ = tokio::time::timeout(LINGER_TIME, rest).await;
}

/// The kind of refusal if the bytes are one of the HTTP library. It is short, has no body and, unlike
/// every answer of ours, no `X-Request-Id`.
fn refused_by_library(bytes: &[u8]) -> Option<ErrorKind> {
    if bytes.len() > 512 {
        return None;
    }
    let text = str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    if text.contains("x-request-id") {
        return None;
    }
    let status =
        text.strip_prefix("HTTP/1.")?.get(2..5).filter(|status| status.starts_with('4'))?;
    Some(ErrorKind::of_framework(status.parse().ok()?))
}
