//! `GET /.well-known/jwks.json`: the public keys that verify our access tokens (RFC 7517).

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::ErrorCode;
use mintgate_domain::ports::JwksDocument;
use serde_json::json;

use crate::accept::{JSON, accepts};
use crate::current::State;
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::{AppState, public_document};

/// The path of the JWKS.
pub(crate) const PATH: &str = "/.well-known/jwks.json";
/// The media type that is registered for a JWKS (RFC 7517 §8.5).
pub(crate) const MEDIA_TYPE: &str = "application/jwk-set+json";

pub(crate) fn operation() -> Operation {
    let keys = json!({
        "type": "object",
        "required": ["keys"],
        "properties": { "keys": { "type": "array", "items": {
            "type": "object",
            "description": "A public key (RFC 7517 §4).",
            "required": ["kty", "kid", "use", "alg"],
            "additionalProperties": { "type": "string" },
        } } },
    });
    Operation::new(
        "Verifiers",
        "showKeys",
        "Get the public keys that verify access tokens (RFC 7517)",
    )
    .answers_as(StatusCode::OK, "The keys.", &[JSON, MEDIA_TYPE], &keys)
    .can_be_cached()
    .refuses([ErrorCode::StoreUnavailable])
}

/// Answers the JWKS, as `application/json`, or as
/// `application/jwk-set+json` for a client that accepts that alone; or 304 if the caller has it.
pub(crate) async fn show(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let document = published_keys(&state)?;
    let mut answer = public_document::answer(&request, JSON, &document.json, &document.etag);
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    if answer.headers().contains_key(header::CONTENT_TYPE) && !accepts(request.headers(), JSON) {
        let registered = HeaderValue::from_static(MEDIA_TYPE);
        answer.headers_mut().insert(header::CONTENT_TYPE, registered);
    }
    Ok(answer)
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
