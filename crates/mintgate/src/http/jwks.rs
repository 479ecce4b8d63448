//! `GET /.well-known/jwks.json`: the keys others verify our tokens with.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::AppState;
use super::error::{ApiError, ErrorKind};

/// How long a verifier may keep the document, in seconds; a new key is published longer than this before it signs.
const MAX_AGE: &str = "public, max-age=300";

/// The JWKS, or 304 if the caller has it (RFC 9110 §13.1.2).
pub(super) async fn show(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let Some(document) = state.parts.public_keys.jwks() else {
        return Err(ApiError::new(ErrorKind::STORE_UNAVAILABLE)
            .with_detail("the signing keys are not loaded"));
    };
    let current = request.headers().get_all(header::IF_NONE_MATCH).any(|value| {
        value.to_str().is_ok_and(|list| {
            list.split(',').any(|tag| {
                let tag = tag.trim();
                tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == document.etag
            })
        })
    });
    let mut response = if current { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::CACHE_CONTROL, MAX_AGE))
        .insert_header((header::ETAG, document.etag.as_str()));
    Ok(if current {
        response.finish()
    } else {
        response.content_type("application/json").body(document.json.clone())
    })
}
