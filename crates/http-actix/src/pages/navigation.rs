//! Which requests are a person's own: a whole tab that goes to an address.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;

use crate::error::ApiError;
use crate::validation::{BrokenField, BrokenRule};

/// By which headers browsers say that they fetch ahead of time. The last three are older ones.
const AHEAD: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// Refuses what is not the navigation of a whole tab: a prefetch, the fetch of a script, an image, a frame,
/// HEAD. A request that says nothing of itself passes: an older browser's, or that of no browser.
///
/// # Errors
/// `INVALID_REQUEST`, which names the header that says so.
pub(super) fn require(request: &HttpRequest) -> Result<(), ApiError> {
    let refused = |field: &'static str| {
        Err(ApiError::invalid(vec![BrokenField::new(field, BrokenRule::NotANavigation)]))
    };
    let headers = request.headers();
    if request.method() == Method::HEAD {
        return refused("method");
    }
    if AHEAD.iter().any(|name| says(headers, name, &["prefetch", "prerender", "preview"])) {
        return refused("Sec-Purpose");
    }
    for (name, header, expected) in [
        ("Sec-Fetch-Mode", "sec-fetch-mode", "navigate"),
        ("Sec-Fetch-Dest", "sec-fetch-dest", "document"),
    ] {
        if headers.get_all(header).any(|value| value != expected) {
            return refused(name);
        }
    }
    Ok(())
}

fn says(headers: &HeaderMap, name: &str, words: &[&str]) -> bool {
    let mut values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.any(|value| {
        let value = value.to_ascii_lowercase();
        words.iter().any(|word| value.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn passes(headers: &[(&'static str, &'static str)]) -> bool {
        let mut request = TestRequest::get();
        for header in headers {
            request = request.append_header(*header);
        }
        require(&request.to_http_request()).is_ok()
    }

    #[test]
    fn only_the_navigation_of_a_whole_tab_is_one() {
        let (mode, dest) = ("sec-fetch-mode", "sec-fetch-dest");
        for headers in [
            &[][..],
            &[(mode, "navigate"), (dest, "document"), ("sec-fetch-site", "cross-site")],
            &[(mode, "navigate")],
            &[("sec-purpose", "something-else")],
        ] {
            assert!(passes(headers), "{headers:?}");
        }
        for headers in [
            [("sec-purpose", "prefetch"), (mode, "navigate")],
            [("sec-purpose", "prefetch;prerender"), (mode, "navigate")],
            [("purpose", "prefetch"), ("a", "b")],
            [("x-purpose", "preview"), ("a", "b")],
            [("x-moz", "prefetch"), ("a", "b")],
            [(mode, "cors"), (dest, "empty")],
            [(mode, "no-cors"), (dest, "image")],
            [(mode, "same-origin"), (dest, "empty")],
            [(mode, "navigate"), (dest, "iframe")],
            [(mode, "navigate"), (dest, "frame")],
            [(mode, "navigate"), (dest, "object")],
            [(mode, "navigate"), (dest, "embed")],
            [(mode, "navigate"), (dest, "fencedframe")],
            [(mode, "navigate"), (mode, "cors")],
            [(mode, ""), ("a", "b")],
        ] {
            assert!(!passes(&headers), "{headers:?}");
        }
        assert!(
            require(&TestRequest::with_uri("/").method(Method::HEAD).to_http_request()).is_err()
        );
    }
}
