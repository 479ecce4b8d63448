//! Public documents that callers may cache and revalidate.

use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::TokenHash;
use serde_json::json;

use crate::body::JSON;
use crate::openapi::Operation;
use crate::validation::Characters::Printable;
use crate::validation::TextRule;

/// Callers may cache a document for 300 seconds. A new key is published for longer before it signs.
const MAX_AGE: &str = "public, max-age=300";

impl Operation {
    /// Answers the document that it is in.
    pub(crate) fn of_document(id: &'static str) -> Self {
        let schema = json!({ "type": "object", "required": ["openapi", "info", "paths"] });
        Self::new("Documentation", id, "Get this document")
            .answers_as(StatusCode::OK, "An OpenAPI 3.1 document.", &[JSON], &schema)
            .can_be_cached()
    }

    /// Answers a document as [`answer`] does.
    pub(crate) fn can_be_cached(self) -> Self {
        let rule = TextRule { name: "If-None-Match", bytes: 1..=1024, characters: Printable };
        self.answers_nothing(StatusCode::NOT_MODIFIED, "The caller has this version.")
            .header(&rule, "The `ETag` of the version that the caller has.")
            .sends("Cache-Control")
            .sends("ETag")
    }
}

/// The strong entity tag of a document (RFC 9110 §8.8.3).
pub(crate) fn etag(document: &str) -> String {
    tag_of(TokenHash::of(document))
}

/// The strong entity tag of a document with this digest.
pub(crate) fn tag_of(digest: TokenHash) -> String {
    let tag = u128::from_be_bytes(std::array::from_fn(|i| digest.as_bytes()[i]));
    format!("\"{tag:032x}\"")
}

/// Answers the document, or 304 if the caller has it (RFC 9110 §13.1.2). `etag` is a strong entity tag
/// with its quotes.
pub(crate) fn answer(
    request: &HttpRequest,
    media_type: &str,
    document: impl AsRef<[u8]>,
    etag: &str,
) -> HttpResponse {
    let current = request.headers().get_all(header::IF_NONE_MATCH).any(|value| {
        value.to_str().is_ok_and(|list| {
            list.split(',').any(|tag| {
                let tag = tag.trim();
                tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
            })
        })
    });
    let mut response = if current { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::CACHE_CONTROL, MAX_AGE)).insert_header((header::ETAG, etag));
    if current {
        response.finish()
    } else {
        response.content_type(media_type).body(Bytes::copy_from_slice(document.as_ref()))
    }
}
