//! What the gateway itself was asked for, as far as it says so and can be believed.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use ipnet::IpNet;

/// The header that names the address whole, with scheme and host.
const URL: &str = "x-original-url";
/// The headers that name its parts; the last one begins with a slash.
const PARTS: [&str; 3] = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-uri"];
const METHOD: &str = "x-forwarded-method";

/// A request as the gateway got it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Original {
    /// The address, if a trusted proxy names one; not judged yet.
    pub(super) address: Option<String>,
    /// Whether a browser is to show what it gets, and follows a redirect to another site.
    pub(super) is_navigation: bool,
}

impl Original {
    pub(super) fn of(request: &HttpRequest, trusted: &[IpNet]) -> Self {
        let headers = request.headers();
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        let is_trusted = peer.is_some_and(|peer| trusted.iter().any(|net| net.contains(&peer)));
        let stated = only(headers, METHOD).filter(|_| is_trusted);
        let method = stated.unwrap_or_else(|| request.method().as_str());
        let is_navigation = matches!(method, "GET" | "HEAD") && is_wanted_by_browser(headers);
        Self { address: address(headers).filter(|_| is_trusted), is_navigation }
    }
}

/// The value of a header that comes once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => str::from_utf8(value.as_bytes()).ok(),
        _ => None,
    }
}

fn address(headers: &HeaderMap) -> Option<String> {
    if headers.contains_key(URL) {
        let (scheme, rest) = only(headers, URL)?.split_once("://")?;
        return Some(format!("{}://{rest}", page_scheme(scheme)?));
    }
    let [scheme, host, path] = PARTS.map(|name| only(headers, name));
    let path = path.filter(|path| path.starts_with('/'))?;
    Some(format!("{}://{}{path}", page_scheme(scheme?)?, host?))
}

/// The scheme of the page from which a request with this scheme comes.
fn page_scheme(scheme: &str) -> Option<&'static str> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some("https"),
        "http" | "ws" => Some("http"),
        _ => None,
    }
}

/// Whether a page is wanted, and not the answer to a script: by the mode (Fetch Metadata §2.2), else by the
/// media types.
fn is_wanted_by_browser(headers: &HeaderMap) -> bool {
    if headers.contains_key("sec-fetch-mode") {
        return only(headers, "sec-fetch-mode") == Some("navigate");
    }
    let accepted = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("text/html")
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    type Sent = [(&'static str, &'static str)];

    fn original(peer: &str, sent: &Sent) -> Original {
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for header in sent {
            request = request.append_header(*header);
        }
        Original::of(&request.to_http_request(), &["10.0.0.0/8".parse().unwrap()])
    }

    const PROTO: (&str, &str) = ("x-forwarded-proto", "https");
    const HOST: (&str, &str) = ("x-forwarded-host", "app.example.com");
    const URI: (&str, &str) = ("x-forwarded-uri", "/a?b=%2F&c");

    #[test]
    fn a_trusted_gateway_names_the_address_whole_or_in_parts() {
        let address = |sent: &Sent| original("10.0.0.1:1", sent).address;
        let page = Some("https://app.example.com/a?b=%2F&c".to_owned());
        let url = |value| [("x-original-url", value)];
        assert_eq!(address(&url("https://app.example.com/a?b=%2F&c")), page);
        assert_eq!(address(&url("wss://app.example.com/a?b=%2F&c")), page);
        assert_eq!(address(&[PROTO, HOST, URI]), page);
        assert_eq!(address(&[("x-forwarded-proto", "wss"), HOST, URI]), page);
        assert_eq!(address(&url("ws://a/")).as_deref(), Some("http://a/"));
        for sent in [
            &[][..],
            &[PROTO, HOST],
            &[HOST, URI],
            &[PROTO, URI],
            &[PROTO, HOST, ("x-forwarded-uri", ".evil.example/")],
            &[PROTO, HOST, ("x-forwarded-uri", "")],
            &[PROTO, PROTO, HOST, URI],
            &[PROTO, HOST, URI, URI],
            &[("x-forwarded-proto", "https, http"), HOST, URI],
            &[("x-forwarded-proto", "javascript"), HOST, URI],
            &url("https://a/")[..].repeat(2),
            &url("/a"),
            &url(""),
            &url("javascript://a/"),
            &[url("data:,")[0], PROTO, HOST, URI],
        ] {
            assert_eq!(address(sent), None, "{sent:?}");
        }
    }

    #[test]
    fn nobody_else_names_it() {
        for sent in [&[PROTO, HOST, URI][..], &[("x-original-url", "https://app.example.com/")]] {
            assert_eq!(original("203.0.113.9:1", sent).address, None);
            assert!(original("[::ffff:10.0.0.1]:1", sent).address.is_some());
        }
        let posted = [("x-forwarded-method", "POST"), ("accept", "text/html")];
        assert!(!original("10.0.0.1:1", &posted).is_navigation);
        assert!(original("203.0.113.9:1", &posted).is_navigation, "this request is a GET");
    }

    #[test]
    fn navigations_are_known_by_their_mode_or_else_by_what_they_accept() {
        let is_navigation = |sent: &Sent| original("10.0.0.1:1", sent).is_navigation;
        for sent in [
            &[("sec-fetch-mode", "navigate")][..],
            &[("sec-fetch-mode", "navigate"), ("accept", "*/*")],
            &[("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")],
            &[("accept", "application/json, Text/HTML;q=0.1")],
            &[("accept", "text/html"), ("x-forwarded-method", "HEAD")],
        ] {
            assert!(is_navigation(sent), "{sent:?}");
        }
        for sent in [
            &[][..],
            &[("accept", "*/*")],
            &[("accept", "image/png")],
            &[("accept", "text/htmlx")],
            &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
            &[("sec-fetch-mode", "websocket"), ("accept", "text/html")],
            &[("sec-fetch-mode", "no-cors"), ("accept", "text/html")],
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "navigate")],
            &[("sec-fetch-mode", "navigate"), ("x-forwarded-method", "POST")],
            &[("sec-fetch-mode", "navigate"), ("x-forwarded-method", "get")],
        ] {
            assert!(!is_navigation(sent), "{sent:?}");
        }
    }
}
