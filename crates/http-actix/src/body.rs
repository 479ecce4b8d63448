//! Request bodies: bounded in size and time, of one type, in UTF-8.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::Payload;
use futures_util::StreamExt;

use crate::error::{ApiError, HttpErrorCode};
use mintgate_domain::ErrorCode;

/// The longest body, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 16 * 1024;

const JSON: &str = "application/json";

/// Reads a whole JSON body. Never more than [`MAX_BODY_BYTES`] of it are held.
///
/// # Errors
/// `UNSUPPORTED_MEDIA_TYPE`, `PAYLOAD_TOO_LARGE`, `REQUEST_TIMEOUT`, or `INVALID_REQUEST` if the client
/// closes the connection.
pub(crate) async fn read_json(
    request: &HttpRequest,
    payload: Payload,
    timeout: Duration,
) -> Result<Vec<u8>, ApiError> {
    if !is_plain(request, JSON) {
        return Err(ApiError::new(HttpErrorCode::UnsupportedMediaType));
    }
    read(request, payload, timeout).await
}

/// Reads a JSON body that may be empty, and then needs no content type.
///
/// # Errors
/// As [`read_json`].
pub(crate) async fn read_optional_json(
    request: &HttpRequest,
    payload: Payload,
    timeout: Duration,
) -> Result<Option<Vec<u8>>, ApiError> {
    let body = read(request, payload, timeout).await?;
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
    payload: Payload,
    timeout: Duration,
) -> Result<Vec<u8>, ApiError> {
    if !is_plain(request, "application/x-www-form-urlencoded") {
        return Err(ApiError::new(HttpErrorCode::UnsupportedMediaType));
    }
    read(request, payload, timeout).await
}

async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    timeout: Duration,
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
    tokio::time::timeout(timeout, collect)
        .await
        .map_err(|_| ApiError::new(HttpErrorCode::RequestTimeout))?
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
