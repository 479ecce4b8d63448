//! Public JSON documents that callers may cache and revalidate.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

/// Callers may cache a document for 300 seconds. A new key is published for longer before it signs.
const MAX_AGE: &str = "public, max-age=300";

/// Answers the document, or 304 if the caller has it (RFC 9110 §13.1.2). `etag` is a strong entity tag
/// with its quotes.
pub(crate) fn answer(request: &HttpRequest, json: &str, etag: &str) -> HttpResponse {
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
        response.content_type("application/json").body(json.to_owned())
    }
}
