//! `GET /.well-known/jwks.json`: the public keys that verify our access tokens (RFC 7517).

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use mintgate_domain::ports::JwksDocument;

use crate::error::ApiError;
use crate::{AppState, public_document};
use mintgate_domain::ErrorCode;

/// Answers the JWKS, or 304 if the caller has it.
pub(crate) async fn show(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let document = published_keys(&state)?;
    Ok(public_document::answer(&request, &document.json, &document.etag))
}

/// The keys that are published at present.
///
/// # Errors
/// `STORE_UNAVAILABLE` as long as no keys are loaded.
pub(crate) fn published_keys(state: &AppState) -> Result<Arc<JwksDocument>, ApiError> {
    state.ports.public_keys.jwks().ok_or_else(|| {
        ApiError::new(ErrorCode::StoreUnavailable).because("the signing keys are not loaded")
    })
}
