//! The head of a request, of whichever framework.

use super::Denied;

/// The parts of a request's head that decide who sent it. The frameworks have different types of them.
pub(crate) struct Head<'a> {
    pub(super) method: &'a str,
    /// Host and port that the request was sent to, as the client named them.
    pub(super) host: Option<&'a str>,
    pub(super) authorization: Vec<&'a [u8]>,
    /// With HTTP/2, one cookie can be one header.
    pub(super) cookies: Vec<&'a [u8]>,
    pub(super) origin: Vec<&'a [u8]>,
    pub(super) fetch_site: Option<&'a [u8]>,
    pub(super) is_upgrade: bool,
}

impl Head<'_> {
    /// The token of an `Authorization: Bearer` header (RFC 6750 §2.1). Another scheme is ignored: it may be meant for a
    /// proxy.
    pub(super) fn bearer(&self) -> Result<Option<String>, Denied> {
        let header = match self.authorization[..] {
            [] => return Ok(None),
            [only] => only,
            _ => return Err(Denied::BadRequest("there are two Authorization headers")),
        };
        let header = std::str::from_utf8(header)
            .map_err(|_| Denied::BadRequest("the Authorization header is malformed"))?;
        let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        match token.trim_matches(' ') {
            "" => Err(Denied::BadRequest("the Authorization header has no token")),
            token => Ok(Some(token.to_owned())),
        }
    }

    /// The value of the cookie with this name.
    pub(super) fn cookie(&self, name: &str) -> Result<Option<String>, Denied> {
        let pairs = self.cookies.iter().flat_map(|header| header.split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| {
            let mut parts = pair.trim_ascii().splitn(2, |byte| *byte == b'=');
            let is_it = parts.next().is_some_and(|it| it.trim_ascii() == name.as_bytes());
            if is_it { Some(parts.next().unwrap_or_default()) } else { None }
        });
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Denied::DuplicateCookie);
        }
        let value = String::from_utf8_lossy(value.trim_ascii());
        Ok(Some(value.trim_matches('"').to_owned()))
    }
}

/// The head of a request of the crate `http`, version 1.
#[cfg(any(feature = "axum", feature = "tower"))]
impl<'a> Head<'a> {
    pub(super) fn of_http(
        method: &'a http::Method,
        uri: &'a http::Uri,
        headers: &'a http::HeaderMap,
    ) -> Self {
        use http::header;
        let all = |name: header::HeaderName| {
            headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect()
        };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        Self {
            method: method.as_str(),
            // HTTP/2 has the host in `:authority`.
            host: host.or_else(|| uri.authority().map(http::uri::Authority::as_str)),
            authorization: all(header::AUTHORIZATION),
            cookies: all(header::COOKIE),
            origin: all(header::ORIGIN),
            fetch_site: headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes),
            is_upgrade: headers.contains_key(header::UPGRADE),
        }
    }
}
