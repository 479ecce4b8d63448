//! Which pages may call this service: CORS and the CSRF rule, from one list of origins.

use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderValue};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use mintgate_domain::excerpt;
use mintgate_domain::model::AllowedUri;
use url::Url;

use crate::error::{ApiError, HttpErrorCode};

const ALLOWED_METHODS: &str = "GET, POST, DELETE";
const ALLOWED_HEADERS: &str =
    "Content-Type, Authorization, Idempotency-Key, X-Request-Id, traceparent";
const EXPOSED_HEADERS: &str =
    "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate";
const PREFLIGHT_MAX_AGE_SECS: &str = "600";

/// Our own origin and the allowed ones.
#[derive(Debug)]
pub(crate) struct OriginPolicy {
    own: String,
    allowed: Vec<AllowedUri>,
}

impl OriginPolicy {
    pub(crate) fn new(public_url: &Url, allowed: Vec<AllowedUri>) -> Self {
        Self { own: public_url.origin().ascii_serialization(), allowed }
    }

    fn is_trusted(&self, origin: &HeaderValue) -> bool {
        origin == self.own.as_str() || self.is_allowed(origin)
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().unwrap_or_default();
        self.allowed.iter().any(|allowed| allowed.allows(origin))
    }

    /// Whether a request is a CORS preflight (Fetch standard, "CORS-preflight request").
    pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a preflight. [`permit`](Self::permit) adds the permission itself.
    pub(crate) fn preflight(&self, headers: &HeaderMap) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(StatusCode::NO_CONTENT);
        if headers.get(header::ORIGIN).is_some_and(|origin| self.is_allowed(origin)) {
            response
                .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS))
                .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS))
                .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_SECS));
        }
        response.finish()
    }

    /// Lets the page read the answer if its origin is allowed. `Vary: Origin` is added in any case.
    pub(crate) fn permit(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin.filter(|origin| self.is_allowed(origin)) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer
                .insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            answer.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED_HEADERS),
            );
        }
    }

    /// Refuses a form that no page of our own origin has posted.
    ///
    /// # Errors
    /// `CSRF_REJECTED`
    pub(crate) fn guard_own(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        self.guard(headers)?;
        let is_own = |origin: &HeaderValue| origin == self.own.as_str();
        let mut sites = headers.get_all("sec-fetch-site");
        if headers.get_all(header::ORIGIN).all(is_own) && sites.all(|site| site == "same-origin") {
            return Ok(());
        }
        let reason = "the form is for our own pages alone";
        Err(ApiError::new(HttpErrorCode::CsrfRejected).because(reason))
    }

    /// Refuses a state-changing request from a page of a foreign origin. Signing in is such a request
    /// too: a foreign page must not be able to sign its visitor in (login CSRF).
    ///
    /// # Errors
    /// `CSRF_REJECTED`
    pub(crate) fn guard(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let refuse =
            |reason: String| Err(ApiError::new(HttpErrorCode::CsrfRejected).because(reason));
        let mut origins = headers.get_all(header::ORIGIN);
        match (origins.next(), origins.next()) {
            (Some(origin), None) if self.is_trusted(origin) => Ok(()),
            (Some(origin), None) => {
                let origin = String::from_utf8_lossy(origin.as_bytes());
                let origin = excerpt(&origin);
                refuse(format!(
                    "the Origin {origin:?} is neither our own nor in cors.allowed_origins"
                ))
            }
            (Some(_), Some(_)) => refuse("there are several Origin headers".to_owned()),
            (None, _) => match headers.get("sec-fetch-site") {
                Some(site) if site == "cross-site" => {
                    refuse("Sec-Fetch-Site is cross-site, and there is no Origin".to_owned())
                }
                _ => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn policy() -> OriginPolicy {
        let own = Url::parse("https://auth.example.com").unwrap();
        let allowed =
            ["https://app.example.com", "capacitor://localhost", "https://*.p.example.com"];
        OriginPolicy::new(&own, allowed.map(AllowedUri::origin).into())
    }

    fn passes(headers: &[(&'static str, &'static str)]) -> bool {
        let mut request = TestRequest::post();
        for header in headers {
            request = request.append_header(*header);
        }
        policy().guard(request.to_http_request().headers()).is_ok()
    }

    #[test]
    fn case_47_only_own_and_allowed_origins_change_state() {
        assert!(passes(&[]));
        assert!(passes(&[("origin", "https://auth.example.com")]));
        assert!(passes(&[("origin", "https://app.example.com"), ("sec-fetch-site", "cross-site")]));
        assert!(passes(&[("sec-fetch-site", "same-site")]));
        assert!(passes(&[("origin", "capacitor://localhost"), ("sec-fetch-site", "cross-site")]));
        assert!(passes(&[("origin", "https://pr-1.p.example.com")]));
        for origin in [
            "null",
            "https://evil.test",
            "https://app.example.com.evil.test",
            "https://evil-app.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://APP.example.com",
            "https://app.example.com/",
            "https://*.p.example.com",
            "https://p.example.com",
            "https://a.b.p.example.com",
            "http://pr-1.p.example.com",
            "https://pr-1.p.example.com:8443",
            "capacitor://localhost:1",
            "capacitor://evil.test",
            "ionic://localhost",
            "",
        ] {
            assert!(!passes(&[("origin", origin)]), "{origin}");
        }
        assert!(!passes(&[("sec-fetch-site", "cross-site")]));
        let both = [("origin", "https://app.example.com"), ("origin", "https://evil.test")];
        assert!(!passes(&both));
    }
}
