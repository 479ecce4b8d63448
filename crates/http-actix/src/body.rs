//! Request bodies: bounded in size and time, of one type, in UTF-8.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::Payload;
use futures_util::StreamExt;
use mintgate_domain::ErrorCode;

use crate::AppState;
use crate::admission::Place;
use crate::connections::Link;
use crate::error::{ApiError, ErrorKind, HttpErrorCode};

/// The longest request body that is read, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 32 * 1024;

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Why a body is refused, whatever it should say.
pub(crate) const REFUSALS: [ErrorKind; 5] = [
    ErrorKind::Core(ErrorCode::InvalidRequest),
    ErrorKind::Core(ErrorCode::Overloaded),
    ErrorKind::Http(HttpErrorCode::PayloadTooLarge),
    ErrorKind::Http(HttpErrorCode::RequestTimeout),
    ErrorKind::Http(HttpErrorCode::UnsupportedMediaType),
];

/// Reads a whole JSON body. Never more than [`MAX_BODY_BYTES`] of it are held.
///
/// # Errors
/// `UNSUPPORTED_MEDIA_TYPE`, `PAYLOAD_TOO_LARGE`, `REQUEST_TIMEOUT`, `OVERLOADED` if the body is slow
/// and too many are, or `INVALID_REQUEST` if the client closes the connection.
pub(crate) async fn read_json(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<Vec<u8>, ApiError> {
    if !is_plain(request, JSON) {
        return Err(ApiError::new(HttpErrorCode::UnsupportedMediaType));
    }
    read(request, state, payload).await
}

/// Reads a JSON body that may be empty, and then needs no content type.
///
/// # Errors
/// As [`read_json`].
pub(crate) async fn read_optional_json(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<Option<Vec<u8>>, ApiError> {
    let body = read(request, state, payload).await?;
    if body.is_empty() {
        return Ok(None);
    }
    if !is_plain(request, JSON) {
        return Err(ApiError::new(HttpErrorCode::UnsupportedMediaType));
    }
    Ok(Some(body))
}

/// Reads a whole form (`application/x-www-form-urlencoded`).
///
/// # Errors
/// As [`read_json`].
pub(crate) async fn read_form(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<Vec<u8>, ApiError> {
    if !is_plain(request, FORM) {
        return Err(ApiError::new(HttpErrorCode::UnsupportedMediaType));
    }
    read(request, state, payload).await
}

async fn read(
    request: &HttpRequest,
    state: &AppState,
    mut payload: Payload,
) -> Result<Vec<u8>, ApiError> {
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(ApiError::new(HttpErrorCode::PayloadTooLarge));
    }
    let collect = async {
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                ApiError::new(ErrorCode::InvalidRequest).because(format!("body: {error}"))
            })?;
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(ApiError::new(HttpErrorCode::PayloadTooLarge));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    let link = request.conn_data::<Rc<Link>>();
    let collect = in_place_if_slow(collect, || {
        let place = state.admission.slow_bodies.take()?;
        if let Some(link) = link {
            link.wait_for_body(state.ports.clock.monotonic());
        }
        Ok(place)
    });
    let body = tokio::time::timeout(state.limits.request_timeout, collect)
        .await
        .map_err(|_| ApiError::new(HttpErrorCode::RequestTimeout))??;
    if let Some(link) = link {
        link.end_body();
    }
    Ok(body)
}

/// Reads a body, and takes a place to wait for it in unless it arrived along with its head: then the
/// second poll finds it, since the first comes before the connection has looked behind the head.
async fn in_place_if_slow<T>(
    body: impl Future<Output = Result<T, ApiError>>,
    take_place: impl Fn() -> Result<Place, ApiError>,
) -> Result<T, ApiError> {
    let mut body = pin!(body);
    let mut has_waited = false;
    let mut place = None;
    poll_fn(|context| {
        let read = body.as_mut().poll(context);
        if read.is_pending() && place.is_none() {
            if has_waited {
                place = Some(take_place()?);
            }
            has_waited = true;
        }
        read
    })
    .await
}

/// Whether the headers announce a body of this media type, in UTF-8 and not compressed.
fn is_plain(request: &HttpRequest, wanted: &str) -> bool {
    let headers = request.headers();
    let encoded = headers
        .get_all(header::CONTENT_ENCODING)
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut types = headers.get_all(header::CONTENT_TYPE);
    let (Some(content_type), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(content_type) = content_type.to_str() else {
        return false;
    };
    let mut parts = content_type.split(';').map(str::trim);
    let is_wanted = parts.next().is_some_and(|mime| mime.eq_ignore_ascii_case(wanted));
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    is_wanted && is_utf8 && !encoded
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Polls the reading of a body that is there at the given poll; the result, and how many places
    /// were asked for, of which none is free.
    fn read_when_none_is_free(polls: usize) -> (Option<Result<usize, ApiError>>, usize) {
        let mut count = 0;
        let body = poll_fn(|_| {
            count += 1;
            if count >= polls { Poll::Ready(Ok(count)) } else { Poll::Pending }
        });
        let asked = std::cell::Cell::new(0);
        let reading = in_place_if_slow(body, || {
            asked.set(asked.get() + 1);
            Err(ApiError::new(ErrorCode::Overloaded))
        });
        let mut reading = pin!(reading);
        for _ in 0..polls {
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(read) = reading.as_mut().poll(context) {
                return (Some(read), asked.get());
            }
        }
        (None, asked.get())
    }

    #[test]
    fn a_body_that_arrives_along_with_its_head_needs_no_place_and_a_slower_one_does() {
        for polls in [1, 2] {
            let (read, asked) = read_when_none_is_free(polls);
            assert_eq!((read.unwrap().unwrap(), asked), (polls, 0));
        }
        let (read, asked) = read_when_none_is_free(3);
        assert_eq!(read.unwrap().unwrap_err().kind(), ErrorCode::Overloaded.into());
        assert_eq!(asked, 1);
    }
}
