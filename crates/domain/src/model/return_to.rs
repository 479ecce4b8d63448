//! Where a browser goes at the end of a login, and which addresses may be named for that.

use url::Url;

use crate::{AuthError, Cause};

/// The longest address, in bytes.
const MAX_BYTES: usize = 2048;
/// The parameter of the query that says how a login, or a refresh, has ended.
const RESULT: &str = "mintgate_result";
/// What the addresses of pages begin with, in any case.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// The origins (RFC 6454 §6.2) to whose pages a browser may be sent, each in the spelling of browsers.
///
/// ```
/// use mintgate_domain::model::ReturnOrigins;
///
/// let origins = ReturnOrigins::new(["https://app.example.com".to_owned()]);
/// let page = origins.judge("/orders?tab=2#top").unwrap();
/// assert_eq!(page.as_str(), "https://app.example.com/orders?tab=2#top");
/// assert_eq!(
///     page.with_result("signed_in"),
///     "https://app.example.com/orders?tab=2&mintgate_result=signed_in#top"
/// );
/// assert!(origins.judge("https://app.example.com.evil.test/").is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReturnOrigins {
    origins: Vec<String>,
    /// Single pages besides, by their address up to the query.
    pages: Vec<String>,
}

/// The address of a page of one of the [`ReturnOrigins`], as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnOrigins {
    /// These origins, each once.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        let mut all = Vec::new();
        for origin in origins {
            if !all.contains(&origin) {
                all.push(origin);
            }
        }
        Self { origins: all, pages: Vec::new() }
    }

    /// These origins, and single pages of others besides: each an address without query and fragment, in the
    /// spelling of browsers. A relative address never means such a page.
    #[must_use]
    pub fn and_pages(self, pages: impl IntoIterator<Item = String>) -> Self {
        Self { pages: pages.into_iter().collect(), ..self }
    }

    /// Every origin, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.origins.iter().map(String::as_str)
    }

    /// Accepts the address of a page of one of the origins. It is read as browsers read it (URL Standard)
    /// and kept as it is. One that begins with `/` is an address of the only origin.
    ///
    /// Refused is also what browsers would read as such a page but nobody writes: an address with a space,
    /// a control character, a user name, a backslash before the query, or escapes in its host.
    ///
    /// # Errors
    /// [`AuthError::ReturnToNotAllowed`]
    pub fn judge(&self, text: &str) -> Result<ReturnTo, AuthError> {
        let whole = self.whole(text).map_err(refusal)?;
        self.check(&whole).map_err(refusal)?;
        Ok(ReturnTo(whole))
    }

    /// The first page of the only origin, for whoever names no address.
    ///
    /// # Errors
    /// [`AuthError::ReturnToNotAllowed`] if there is not exactly one origin.
    pub fn only_page(&self) -> Result<ReturnTo, AuthError> {
        self.judge("/")
    }

    /// The address with scheme and host.
    fn whole(&self, text: &str) -> Result<String, &'static str> {
        if text.len() > MAX_BYTES {
            return Err("it has more than 2048 bytes");
        }
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err("it has a space or a control character");
        }
        if !text.starts_with('/') {
            return Ok(text.to_owned());
        }
        // Browsers read `//host` and `/\host` as another host.
        if text[1..].starts_with(['/', '\\']) {
            return Err("it begins with two slashes");
        }
        match self.origins.as_slice() {
            [only] => Ok(format!("{only}{text}")),
            _ => Err("it names no origin, and there is not exactly one"),
        }
    }

    fn check(&self, whole: &str) -> Result<(), &'static str> {
        let is_of = |scheme: &&str| {
            whole.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        let scheme =
            SCHEMES.into_iter().find(is_of).ok_or("it does not begin with https:// or /")?;
        let rest = &whole[scheme.len()..];
        let before_query = rest.split(['?', '#']).next().unwrap_or_default();
        if before_query.contains('\\') {
            return Err("it has a backslash, which browsers read as a slash");
        }
        let authority = before_query.split('/').next().unwrap_or_default();
        if authority.is_empty() || authority.contains(['@', '%']) || !authority.is_ascii() {
            return Err(
                "its host has a user name, an escape or a character that is not ASCII, or is none",
            );
        }
        let url = Url::parse(whole).map_err(|_| "it is not a URL")?;
        let origin = url.origin().ascii_serialization();
        let page = whole.split(['?', '#']).next().unwrap_or_default();
        if self.origins.contains(&origin) || self.pages.iter().any(|it| it == page) {
            Ok(())
        } else {
            Err("its origin is not in pages.return_origins")
        }
    }
}

fn refusal(why: &'static str) -> AuthError {
    AuthError::ReturnToNotAllowed(Cause::new(why))
}

impl ReturnTo {
    /// The address, as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address with the parameter `mintgate_result` at the end of its query, in place of any that it
    /// has. All else stays as it is, byte for byte.
    pub fn with_result(&self, result: &str) -> String {
        let (before, fragment) = self.parts();
        let (page, query) = before.split_once('?').unwrap_or((before, ""));
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_result(pair)).collect();
        let kept = kept.join("&");
        let joint = if kept.is_empty() { "" } else { "&" };
        format!("{page}?{kept}{joint}{RESULT}={result}{fragment}")
    }

    /// Whether the query has the parameter `mintgate_result`.
    pub fn has_result(&self) -> bool {
        self.result().is_some()
    }

    /// The value of the parameter `mintgate_result` in the query.
    pub fn result(&self) -> Option<String> {
        let (before, _) = self.parts();
        let (_, query) = before.split_once('?')?;
        let pair = query.split('&').find(|pair| is_result(pair))?;
        let (_, value) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
        Some(value.into_owned())
    }

    /// What is before the fragment, and the fragment with its `#`.
    fn parts(&self) -> (&str, &str) {
        self.0.split_at(self.0.find('#').unwrap_or(self.0.len()))
    }
}

/// Whether a part of a query is our parameter, however its name is escaped.
fn is_result(pair: &str) -> bool {
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs.next().is_some_and(|(name, _)| name == RESULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "https://app.example.com";

    fn origins(all: &[&str]) -> ReturnOrigins {
        ReturnOrigins::new(all.iter().map(|one| (*one).to_owned()))
    }

    #[test]
    fn a_single_page_is_accepted_by_its_whole_address_alone() {
        let one = origins(&[APP]).and_pages(["https://auth.test/login".to_owned()]);
        for text in ["https://auth.test/login", "https://auth.test/login?a=b#c", "/login"] {
            assert!(one.judge(text).is_ok(), "{text}");
        }
        assert_eq!(one.judge("/login").unwrap().as_str(), "https://app.example.com/login");
        for text in [
            "https://auth.test/",
            "https://auth.test/login/",
            "https://auth.test/login/x",
            "https://auth.test/loginx",
            "https://auth.test.evil/login",
            "https://auth.test@evil.test/login",
        ] {
            assert!(one.judge(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_that_browsers_might_read_as_another_one_is_refused() {
        let one = origins(&[APP]);
        let long = format!("{APP}/{}", "a".repeat(2047 - APP.len()));
        let refused = [
            "",
            "//evil.test",
            "///evil.test",
            "//app.example.com",
            "/\\evil.test",
            "/\\/evil.test",
            "\\\\evil.test",
            "\\/evil.test",
            "https:evil.test",
            "https:/evil.test",
            "https:/app.example.com",
            "https:app.example.com",
            "https:\\\\app.example.com",
            "https:///app.example.com",
            "https://\\app.example.com",
            "https://",
            "https:",
            "https://evil.test",
            "https://evil.test/https://app.example.com",
            "https://evil.test?https://app.example.com",
            "https://evil.test#https://app.example.com",
            "https://app.example.com.evil.test",
            "https://app.example.com.",
            "https://app.example.comevil.test",
            "https://evilapp.example.com",
            "https://app.example.com@evil.test",
            "https://app.example.com:pass@evil.test",
            "https://app.example.com%40evil.test",
            "https://app.example.com%2f@evil.test",
            "https://user@app.example.com/",
            "https://user:pass@app.example.com/",
            "https://@app.example.com/",
            "https://evil.test\\@app.example.com",
            "https://app.example.com\\@evil.test",
            "https://app.example.com\\.evil.test",
            "https://app.example.com/a\\b",
            "http://app.example.com",
            "ftp://app.example.com",
            "wss://app.example.com",
            "https://app.example.com:8443/",
            "https://app.example.com:80/",
            "https://app.example.com:99999/",
            "https://app.example.com:evil.test/",
            "https://app%2eexample.com/",
            "https://app。example.com/",
            "https://ａpp.example.com/",
            "https://[::1]/",
            "https://127.0.0.1/",
            "\thttps://app.example.com/",
            "ht\ntps://app.example.com/",
            "https://app.example.com\t.evil.test/",
            "https://app.example.com/\r\nSet-Cookie: a=b",
            "https://app.example.com/a\nb",
            "https://app.example.com/\0",
            "https://app.example.com/\u{7f}",
            " https://app.example.com/",
            "https://app.example.com/ ",
            "https://app.example.com/a b",
            "/\t/evil.test",
            "/\n/evil.test",
            " /",
            "javascript:alert(1)",
            "JavaScript:alert(1)//https://app.example.com",
            "data:text/html,<script>alert(1)</script>",
            "vbscript:x",
            "blob:https://app.example.com/1",
            "filesystem:https://app.example.com/temporary/1",
            "view-source:https://app.example.com/",
            "about:blank",
            "null",
            "orders",
            "./orders",
            "../orders",
            "?q=1",
            "#top",
            "app.example.com",
            "app.example.com/orders",
            "@app.example.com",
            &format!("{long}a"),
        ];
        assert!(refused.len() >= 40);
        for text in refused {
            let judged = one.judge(text);
            assert!(matches!(judged, Err(AuthError::ReturnToNotAllowed(_))), "{text:?} {judged:?}");
        }
        assert!(one.judge(&long).is_ok());
    }

    #[test]
    fn an_address_without_an_origin_is_one_of_the_only_origin() {
        let page = origins(&[APP]).judge("/a//b/..//c?d=//e#//f").unwrap();
        assert_eq!(page.as_str(), "https://app.example.com/a//b/..//c?d=//e#//f");
        for several in [&[][..], &[APP, "https://auth.example.com"]] {
            assert!(origins(several).judge("/a").is_err());
            assert!(origins(several).only_page().is_err());
        }
        assert_eq!(origins(&[APP, APP]).only_page().unwrap().as_str(), "https://app.example.com/");
    }

    #[test]
    fn the_origin_is_compared_as_browsers_write_it_and_the_address_is_kept_as_it_is() {
        let all = origins(&[APP, "http://localhost:5173", "https://xn--mnchen-3ya.example"]);
        for text in [
            APP,
            "https://app.example.com/",
            "https://app.example.com:443/x",
            "HTTPS://APP.Example.COM/x",
            "https://app.example.com?q",
            "https://app.example.com#/orders?tab=2",
            "https://app.example.com/straße?q=a%26b&r=x+y#ende",
            "https://app.example.com/?error=mine&code=7&state=z",
            "https://app.example.com/?next=https://evil.test\\@",
            "https://app.example.com/@evil.test",
            "https://app.example.com/%5Cevil.test",
            "http://localhost:5173/a",
            "https://xn--mnchen-3ya.example/",
        ] {
            assert_eq!(all.judge(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn the_result_comes_before_the_fragment_and_changes_nothing_else() {
        let origins = origins(&[APP]);
        for (text, expected) in [
            ("/", "/?mintgate_result=x"),
            ("/?", "/?mintgate_result=x"),
            ("/#/orders?tab=2", "/?mintgate_result=x#/orders?tab=2"),
            ("/a?q=a%26b&r=x+y", "/a?q=a%26b&r=x+y&mintgate_result=x"),
            ("/a?q&&r=?&#", "/a?q&&r=?&&mintgate_result=x#"),
            ("/straße?ü#ö", "/straße?ü&mintgate_result=x#ö"),
            ("/?error=mine&code=7", "/?error=mine&code=7&mintgate_result=x"),
            ("/?mintgate_result=old&a=1", "/?a=1&mintgate_result=x"),
            ("/?a=1&mintgate%5Fresult=old", "/?a=1&mintgate_result=x"),
            ("/?a=1&mintgate_result&mintgate_result=y#z", "/?a=1&mintgate_result=x#z"),
            ("/?a=mintgate_result=1", "/?a=mintgate_result=1&mintgate_result=x"),
            ("/#?mintgate_result=1", "/?mintgate_result=x#?mintgate_result=1"),
        ] {
            let page = origins.judge(text).unwrap();
            assert_eq!(page.with_result("x"), format!("{APP}{expected}"), "{text}");
        }
        let has = |text: &str| origins.judge(text).unwrap().has_result();
        assert!(has("/?a&mintgate%5fresult=1#b") && has("/?mintgate_result"));
        assert!(!has("/?a=mintgate_result") && !has("/#?mintgate_result=1") && !has("/"));
    }
}
