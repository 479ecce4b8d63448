//! The configured addresses of pages and apps: exact ones, and those of which one part is free.

use std::fmt;

/// The loopback addresses whose port a redirect URI may leave open (RFC 8252 §7.3). `localhost` is none
/// of them: it may be another machine.
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];
/// What an address with a free label begins with, up to the label.
const SCHEME: &str = "https://";

/// A configured redirect URI or origin, which allows itself or all that differ in one free part.
///
/// ```
/// use mintgate_domain::model::AllowedUri;
///
/// let preview = AllowedUri::redirect_uri("https://*.preview.example.com/callback");
/// assert!(preview.allows("https://pr-7.preview.example.com/callback"));
/// assert!(!preview.allows("https://a.b.preview.example.com/callback"));
///
/// let app = AllowedUri::redirect_uri("http://127.0.0.1/callback");
/// assert!(app.allows("http://127.0.0.1:51004/callback"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedUri {
    text: String,
    /// The index of the free part in the text.
    free: Option<Free>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Free {
    /// A port may follow what is before this index.
    Port(usize),
    /// The `*` at this index stands for one label of a host name.
    Label(usize),
}

impl AllowedUri {
    /// A redirect URI. One on a loopback IP address without a port allows every port (RFC 8252 §7.3), and
    /// one whose first label is `*` allows every label in its place. Any other allows itself alone
    /// (RFC 9700 §2.1).
    pub fn redirect_uri(text: impl Into<String>) -> Self {
        let text = text.into();
        let host = LOOPBACK.into_iter().find(|host| {
            text.strip_prefix(host).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || rest.starts_with('?')
            })
        });
        let free = host.map(|host| Free::Port(host.len())).or_else(|| free_label(&text));
        Self { text, free }
    }

    /// An origin (RFC 6454 §6.2). One whose first label is `*` allows every label in its place. Any other
    /// allows itself alone.
    pub fn origin(text: impl Into<String>) -> Self {
        let text = text.into();
        let free = free_label(&text);
        Self { text, free }
    }

    /// The configured text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this allows an address. Everything but the free part is compared byte for byte.
    pub fn allows(&self, uri: &str) -> bool {
        match self.free {
            None => uri == self.text,
            Some(Free::Port(at)) => {
                let (host, rest) = self.text.split_at(at);
                let port = uri.strip_prefix(host).and_then(|uri| uri.strip_suffix(rest));
                port.is_some_and(|port| {
                    port.is_empty() || port.strip_prefix(':').is_some_and(is_port)
                })
            }
            Some(Free::Label(at)) => {
                let (scheme, rest) = (&self.text[..at], &self.text[at + 1..]);
                let label = uri.strip_prefix(scheme).and_then(|uri| uri.strip_suffix(rest));
                label.is_some_and(is_label)
            }
        }
    }

    /// Whether a label is free. A stranger may then come to hold an allowed address, so a code that is
    /// sent there needs PKCE.
    pub fn has_free_label(&self) -> bool {
        matches!(self.free, Some(Free::Label(_)))
    }
}

impl fmt::Display for AllowedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn free_label(text: &str) -> Option<Free> {
    let rest = text.strip_prefix(SCHEME)?;
    rest.starts_with("*.").then_some(Free::Label(SCHEME.len()))
}

/// Whether a text is a port other than 0, without leading zeros.
fn is_port(text: &str) -> bool {
    text.starts_with(|first: char| ('1'..='9').contains(&first))
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}

/// Whether a text is a label of a host name as browsers write it: 1 to 63 lower-case letters, digits and
/// inner hyphens (RFC 1123 §2.1).
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_11_an_exact_uri_allows_itself_alone() {
        for text in [
            "https://app.example.com/callback",
            "https://app.*.example.com/callback",
            "http://localhost/callback",
            "http://127.0.0.1:80/callback",
            "http://127.0.0.1.example.com/callback",
            "http://*.example.com/callback",
            "com.example.app:/callback",
        ] {
            let allowed = AllowedUri::redirect_uri(text);
            assert!(allowed.allows(text) && !allowed.has_free_label());
            for other in
                [text.to_uppercase(), format!("{text}/"), format!("{text}?a"), String::new()]
            {
                assert!(!allowed.allows(&other), "{text} {other}");
            }
        }
        let local = AllowedUri::redirect_uri("http://localhost/callback");
        assert!(!local.allows("http://localhost:8080/callback"));
    }

    #[test]
    fn case_11_a_loopback_address_without_a_port_allows_every_port() {
        for host in LOOPBACK {
            for rest in ["", "/", "/callback", "/a?b=c", "?b"] {
                let allowed = AllowedUri::redirect_uri(format!("{host}{rest}"));
                assert!(!allowed.has_free_label());
                for port in ["", ":1", ":80", ":51004", ":65535"] {
                    assert!(allowed.allows(&format!("{host}{port}{rest}")), "{host}{port}{rest}");
                }
                for port in [
                    ":",
                    ":0",
                    ":080",
                    ":65536",
                    ":+80",
                    ":8 0",
                    ":80:80",
                    "80",
                    ":80@evil.test",
                    ".evil.test",
                    ":80/..",
                    "@evil.test",
                    ":80#",
                    ":٣",
                ] {
                    assert!(!allowed.allows(&format!("{host}{port}{rest}")), "{host}{port}{rest}");
                }
                assert!(!allowed.allows(&format!("https{}:80{rest}", &host[4..])));
                assert!(!allowed.allows(&format!("{host}:80{rest}x")));
            }
        }
        // An origin without a port is that of port 80.
        let origin = AllowedUri::origin("http://127.0.0.1");
        assert!(origin.allows("http://127.0.0.1") && !origin.allows("http://127.0.0.1:8080"));
    }

    #[test]
    fn case_11_a_free_label_is_one_label() {
        let redirect = AllowedUri::redirect_uri("https://*.preview.example.com/callback");
        let origin = AllowedUri::origin("https://*.preview.example.com");
        assert!(redirect.has_free_label() && origin.has_free_label());
        for label in ["a", "pr-7", "0", "xn--bcher-kva", &"a".repeat(63)] {
            assert!(redirect.allows(&format!("https://{label}.preview.example.com/callback")));
            assert!(origin.allows(&format!("https://{label}.preview.example.com")));
        }
        for label in [
            "",
            "*",
            "a.b",
            "A",
            "-a",
            "a-",
            "a_b",
            "a b",
            "a/",
            "evil.test/",
            "evil.test?",
            "evil.test#",
            "evil.test\\",
            "user@a",
            "a:1",
            "a%2e",
            "é",
            ".",
            &"a".repeat(64),
        ] {
            let host = format!("https://{label}.preview.example.com");
            assert!(!redirect.allows(&format!("{host}/callback")), "{label}");
            assert!(!origin.allows(&host), "{label}");
        }
        for uri in [
            "https://preview.example.com/callback",
            "https://.preview.example.com/callback",
            "http://a.preview.example.com/callback",
            "https://a.preview.example.com:443/callback",
            "https://a.preview.example.com/callback/",
            "https://a.preview.example.com/Callback",
            "https://a.preview.example.com.evil.test/callback",
            "https://apreview.example.com/callback",
            "//a.preview.example.com/callback",
        ] {
            assert!(!redirect.allows(uri), "{uri}");
        }
    }
}
