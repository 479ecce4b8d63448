//! HTTP/2 (RFC 9113), on connections over TLS.
//!
//! The HTTP library has this too, but lets a client open as many streams as it likes, and cuts them when
//! the service stops.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use actix_http::error::{DispatchError, PayloadError};
use actix_http::{BoxedPayloadStream, Payload, Request, Response};
use actix_service::Service;
use actix_web::body::{BodySize, BoxBody, MessageBody as _};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderName, HttpDate, TryIntoHeaderValue as _};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use futures_util::stream;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use tokio::time::MissedTickBehavior;

use crate::AppState;
use crate::connections::Admitted;
use crate::server::{DISCONNECT_TIMEOUT, KEEP_ALIVE};
use crate::stopping::Phase;
use crate::transport::Transport;

/// How many requests a client may have under way on one connection.
const MAX_STREAMS: u32 = 100;
/// How many bytes of a body are sent in one frame at most.
const FRAME_BYTES: usize = 16 * 1024;
/// The headers that HTTP/2 does not have (RFC 9113 §8.2.2).
const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The requests that are under way on one connection.
struct UnderWay {
    count: Cell<usize>,
    admitted: Admitted,
}

impl UnderWay {
    fn state(&self) -> &AppState {
        &self.admitted.connections.state
    }
}

/// One request that is under way.
struct Stream(Rc<UnderWay>);

impl Stream {
    fn begin(under_way: &Rc<UnderWay>) -> Self {
        under_way.count.set(under_way.count.get() + 1);
        under_way.admitted.link.begin_stream();
        Self(Rc::clone(under_way))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let left = self.0.count.get() - 1;
        self.0.count.set(left);
        if left == 0 {
            self.0.admitted.link.end_streams(self.0.state().ports.clock.monotonic());
        }
    }
}

/// Answers the requests of a connection until its client closes it, it has to end, or the service is asked to
/// stop and all of its requests are answered. While the service drains, that takes a first request: otherwise a
/// client could connect again and again and be answered by nobody.
///
/// # Errors
/// If the connection breaks.
pub(crate) async fn serve<S>(
    service: &S,
    transport: Transport,
    admitted: Admitted,
    peer: Option<SocketAddr>,
) -> Result<(), DispatchError>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>>,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::Future: 'static,
{
    let link = Rc::clone(&admitted.link);
    let under_way = Rc::new(UnderWay { count: Cell::new(0), admitted });
    let mut builder = Builder::new();
    // What is a little too large still gets an answer that says so.
    let head_bytes = 2 * under_way.state().limits.max_header_bytes + 16 * 1024;
    builder.max_header_list_size(head_bytes.try_into().unwrap_or(u32::MAX));
    builder.max_concurrent_streams(MAX_STREAMS);
    let mut connection = tokio::select! {
        biased;
        () = link.ended() => return Ok(()),
        connection = builder.handshake::<_, Bytes>(transport) => connection.map_err(broken)?,
    };
    let stopping = Arc::clone(&under_way.state().ports.stopping);
    let mut drains = pin!(stopping.begins(Phase::Drains));
    let mut ends = pin!(stopping.begins(Phase::Ends));
    let mut is_used = false;
    let mut is_ending = false;
    let mut checks = tokio::time::interval(DISCONNECT_TIMEOUT);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            biased;
            () = link.ended() => return Ok(()),
            () = &mut drains, if is_used && !is_ending => None,
            () = &mut ends, if !is_ending => None,
            _ = checks.tick() => {
                let now = under_way.state().ports.clock.monotonic();
                let most = if is_ending { DISCONNECT_TIMEOUT } else { KEEP_ALIVE };
                if link.idle_for(now).is_none_or(|idle| idle < most) {
                    continue;
                } else if is_ending {
                    return Ok(());
                }
                None
            }
            accepted = connection.accept() => match accepted {
                None => return Ok(()),
                Some(accepted) => Some(accepted.map_err(broken)?),
            },
        };
        if let Some((request, respond)) = accepted {
            is_used = true;
            let stream = Stream::begin(&under_way);
            let is_head = request.method() == Method::HEAD;
            let answer = service.call(request_of(request, peer));
            actix_web::rt::spawn(run(answer, is_head, respond, stream));
        } else {
            is_ending = true;
            connection.graceful_shutdown();
            // What there is to send gets its time.
            checks.reset();
        }
    }
}

fn broken(error: h2::Error) -> DispatchError {
    DispatchError::Io(io::Error::other(error))
}

/// The request as the routes want it.
fn request_of(request: http_02::Request<RecvStream>, peer: Option<SocketAddr>) -> Request {
    let (parts, body) = request.into_parts();
    let payload = if body.is_end_stream() {
        Payload::None
    } else {
        Payload::Stream { payload: chunks(body) }
    };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = peer;
    request
}

fn chunks(body: RecvStream) -> BoxedPayloadStream {
    Box::pin(stream::unfold(body, |mut body| async {
        let chunk = body.data().await?;
        let chunk = chunk.and_then(|chunk| {
            body.flow_control().release_capacity(chunk.len())?;
            Ok(chunk)
        });
        Some((chunk.map_err(|error| PayloadError::Io(io::Error::other(error))), body))
    }))
}

/// Answers a request. It is cancelled if the client gives it up.
async fn run<E: Into<Response<BoxBody>>>(
    answer: impl Future<Output = Result<ServiceResponse<BoxBody>, E>>,
    is_head: bool,
    mut respond: SendResponse<Bytes>,
    stream: Stream,
) {
    let answer = tokio::select! {
        biased;
        _ = poll_fn(|context| respond.poll_reset(context)) => return,
        answer = answer => answer.map_or_else(Into::into, Into::into),
    };
    let now = stream.0.state().ports.clock.now().into();
    // From here on, the client is waited for, unless the answer has no end that we know.
    let _under_way = matches!(answer.body().size(), BodySize::Stream).then_some(stream);
    // An error means that the client has gone.
    let _ = send(answer, is_head, respond, now).await;
}

async fn send(
    answer: Response<BoxBody>,
    is_head: bool,
    mut respond: SendResponse<Bytes>,
    now: SystemTime,
) -> Result<(), h2::Error> {
    let size = answer.body().size();
    let mut head = http_02::Response::new(());
    *head.status_mut() = answer.status();
    let headers = head.headers_mut();
    for (name, value) in answer.headers() {
        if !HOP_BY_HOP.contains(name) && name != header::CONTENT_LENGTH {
            headers.append(name, value.clone());
        }
    }
    let has_length = !matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let BodySize::Sized(length) = size
        && has_length
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if let Ok(date) = HttpDate::from(now).try_into_value() {
        headers.insert(header::DATE, date);
    }
    let has_body = !is_head && !size.is_eof();
    let sending = respond.send_response(head, !has_body)?;
    if has_body { send_body(answer.into_body(), sending).await } else { Ok(()) }
}

async fn send_body(body: BoxBody, mut sending: SendStream<Bytes>) -> Result<(), h2::Error> {
    let mut body = pin!(body);
    while let Some(chunk) = poll_fn(|context| body.as_mut().poll_next(context)).await {
        let Ok(mut chunk) = chunk else {
            sending.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        };
        while !chunk.is_empty() {
            sending.reserve_capacity(chunk.len().min(FRAME_BYTES));
            let Some(capacity) = poll_fn(|context| sending.poll_capacity(context)).await else {
                return Ok(());
            };
            let part = chunk.split_to(chunk.len().min(capacity?));
            if !part.is_empty() {
                sending.send_data(part, false)?;
            }
        }
    }
    sending.send_data(Bytes::new(), true)
}
