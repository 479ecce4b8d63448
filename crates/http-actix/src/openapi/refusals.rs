//! What is documented of refusals: their one shape, their headers, and which codes a status can have.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::error::{ErrorBody, ErrorKind, FieldBody};

/// The schemas of the one shape.
pub(super) fn schemas() -> Vec<(String, Value)> {
    let written = |schema| serde_json::to_value(&schema).unwrap_or_default();
    vec![
        (ErrorBody::name().into_owned(), written(ErrorBody::schema())),
        (FieldBody::name().into_owned(), written(FieldBody::schema())),
    ]
}

/// The headers that answers refer to.
pub(super) fn headers() -> Value {
    let header = |required: bool, description: &str| json!({ "required": required, "description": description, "schema": { "type": "string" } });
    json!({
        "X-Request-Id": header(true, "The id of the request, which its log line has too: the caller's, if \
            it sent one of 8 to 64 of `[A-Za-z0-9_-]`."),
        "Cache-Control": header(true, "Whether, and how long, the answer may be kept."),
        "ETag": header(true, "Names this version; `If-None-Match` asks for another one."),
        "Retry-After": {
            "required": true, "description": "How many seconds to wait before the next try.",
            "schema": { "type": "integer", "minimum": 1 },
        },
        "RateLimit": header(true, "The limit that is used up, and for how many seconds \
            (draft-ietf-httpapi-ratelimit-headers)."),
        "RateLimit-Policy": header(true, "What the limit is."),
        "WWW-Authenticate": header(true, "How to authenticate; `error=\"invalid_token\"` where an access \
            token was shown that is not accepted (RFC 6750 §3.1)."),
        "Location": header(true, "Where the browser goes."),
        "X-Auth-User": header(true, "The id of the caller's user."),
        "X-Auth-Roles": header(true, "The caller's roles, with commas between them; empty if there are none."),
        "X-Auth-Session": header(true, "The id of the caller's session."),
        "Set-Cookie": header(false, "Sets or clears a cookie; comes once for each."),
    })
}

/// The refusals of one status, whose codes these are. With `is_page`, browsers get a page.
pub(super) fn response(kinds: &[ErrorKind], is_page: bool) -> Value {
    let mut names = vec!["X-Request-Id", "Cache-Control"];
    names.extend(match kinds.first().map_or(0, |kind| kind.status().as_u16()) {
        400 => &["Set-Cookie"][..],
        401 => &["WWW-Authenticate", "Set-Cookie"],
        403 => &["Set-Cookie"],
        429 => &["Retry-After", "RateLimit", "RateLimit-Policy"],
        503 => &["Retry-After"],
        _ => &[],
    });
    let headers: Map<String, Value> = names
        .into_iter()
        .map(|name| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect();
    let codes: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
    let reasons: Vec<String> =
        kinds.iter().map(|kind| format!("- `{}`: {}", kind.code(), kind.message())).collect();
    let mut response = json!({
        "description": reasons.join("\n"),
        "headers": headers,
        "content": { "application/json": { "schema": {
            "allOf": [
                { "$ref": format!("#/components/schemas/{}", ErrorBody::name()) },
                { "properties": { "errorCode": { "enum": codes } } },
            ],
        } } },
    });
    if is_page {
        response["content"]["text/html"] = json!({ "schema": { "type": "string" } });
    }
    response
}
