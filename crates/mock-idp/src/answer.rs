//! Answers of the endpoints, with the faults that were set.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::rt::time::{Interval, interval, sleep};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use crate::FaultKind;
use crate::shared::Shared;
use crate::state::Endpoint;

/// Answers a request by `work`, unless a fault is set for the endpoint.
pub(crate) async fn answer(
    shared: Data<Shared>,
    endpoint: Endpoint,
    work: impl FnOnce(&Shared) -> HttpResponse,
) -> HttpResponse {
    // A statement of its own, so that the state is unlocked before anything waits.
    let fault = shared.state().begin(endpoint);
    let Some(fault) = fault else { return work(&shared) };
    match fault {
        FaultKind::Delay { ms } => {
            sleep(Duration::from_millis(ms)).await;
            work(&shared)
        }
        FaultKind::Hang => std::future::pending().await,
        FaultKind::Redirect { to } => {
            HttpResponse::TemporaryRedirect().insert_header((LOCATION, to)).finish()
        }
        FaultKind::Huge { bytes } => HttpResponse::Ok()
            .content_type("application/json")
            .body(HugeBody { left: bytes.unwrap_or(u64::MAX), shared }),
        FaultKind::Drip { interval_ms } => {
            let interval = interval(Duration::from_millis(interval_ms.max(1)));
            work(&shared)
                .map_body(|_, body| DripBody {
                    left: body.try_into_bytes().unwrap_or_default(),
                    interval,
                })
                .map_into_boxed_body()
        }
        FaultKind::Status { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            HttpResponse::build(status).content_type("application/json").body(body)
        }
        FaultKind::Body { body, content_type } => {
            HttpResponse::Ok().content_type(content_type).body(body)
        }
        FaultKind::Close => HttpResponse::Ok().body(BrokenBody),
    }
}

/// A JSON answer that must not be cached.
pub(crate) fn json(mut builder: HttpResponseBuilder, value: &impl Serialize) -> HttpResponse {
    builder.insert_header((CACHE_CONTROL, "no-store")).json(value)
}

/// A body of spaces without a length; the bytes sent are counted.
struct HugeBody {
    left: u64,
    shared: Data<Shared>,
}

impl MessageBody for HugeBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        const CHUNK: &[u8] = &[b' '; 16 * 1024];
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK.len());
        if length == 0 {
            return Poll::Ready(None);
        }
        self.left -= length as u64;
        self.shared.state().stats.huge_bytes += length as u64;
        Poll::Ready(Some(Ok(Bytes::from_static(&CHUNK[..length]))))
    }
}

impl Drop for HugeBody {
    fn drop(&mut self) {
        self.shared.state().stats.huge_bodies_ended += 1;
    }
}

/// The genuine body, one byte at a time.
struct DripBody {
    left: Bytes,
    interval: Interval,
}

impl MessageBody for DripBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.interval.poll_tick(context));
        Poll::Ready(Some(Ok(self.left.split_to(1))))
    }
}

/// A body that fails before the head is sent, so that the server closes the connection.
struct BrokenBody;

impl MessageBody for BrokenBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }
}
