//! `GET /.well-known/jwks.json`: the keys others verify our tokens with.

use actix_web::{HttpRequest, HttpResponse, web};

use super::error::{ApiError, ErrorKind};
use super::{AppState, public_document};

/// The JWKS, or 304 if the caller has it.
pub(super) async fn show(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    match state.parts.public_keys.jwks() {
        Some(document) => Ok(public_document::answer(&request, &document.json, &document.etag)),
        None => Err(ApiError::new(ErrorKind::STORE_UNAVAILABLE)
            .with_detail("the signing keys are not loaded")),
    }
}
