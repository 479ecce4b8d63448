//! Content negotiation by the header `Accept`.

use actix_web::http::header::{self, HeaderMap};

use crate::{backchannel, introspection, jwks, pages, public_api, revocations};

/// The media type of answers.
pub(crate) const JSON: &str = "application/json";

/// Whether the `Accept` header, if there is one, leaves room for the answer to a request for this path.
/// A provider that posts a logout token has no use for a body, whatever it says that it accepts, nor has a
/// back end that revokes a token.
pub(crate) fn accepts_answer(path: &str, headers: &HeaderMap) -> bool {
    accepts(headers, JSON)
        || path.ends_with(jwks::PATH) && accepts(headers, jwks::MEDIA_TYPE)
        || path.ends_with(public_api::DOCS) && accepts(headers, "text/html")
        || path.ends_with(revocations::PATH)
            && [revocations::MEDIA_TYPE, revocations::EVENTS].iter().any(|it| accepts(headers, it))
        || path.contains(backchannel::PATH)
        || path.ends_with(introspection::REVOKE)
        || pages::is_for_browsers(path)
}

/// Whether the `Accept` header asks for HTML by name, as browsers do when they load a page.
pub(crate) fn asks_for_html(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    values.any(|value| value.to_ascii_lowercase().contains("text/html"))
        && accepts(headers, "text/html")
}

/// Whether the `Accept` header, if there is one, leaves room for a media type (RFC 9110 §12.5.1).
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).peekable();
    if values.peek().is_none() {
        return true;
    }
    let mut best = (0, false);
    for range in values.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let mime = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match mime.as_str() {
            mime if mime == media_type => 3,
            "application/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        let refused = parts.any(|p| {
            let weight = p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="));
            weight.is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        if specificity > best.0 {
            best = (specificity, !refused);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn accept_is_read_by_its_most_specific_range() {
        let accepted = |value: &'static str| {
            accepts(
                TestRequest::default().insert_header(("accept", value)).to_http_request().headers(),
                JSON,
            )
        };
        for yes in [
            "*/*",
            "application/json",
            "text/html, */*;q=0.1",
            "application/*",
            "Application/JSON;q=0.5",
        ] {
            assert!(accepted(yes), "{yes}");
        }
        for no in ["text/html", "application/json;q=0, */*", "image/*", "application/xml"] {
            assert!(!accepted(no), "{no}");
        }
        assert!(accepts(TestRequest::default().to_http_request().headers(), JSON));
    }
}
