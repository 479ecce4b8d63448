//! Why a request does not pass, and the response that says so.

use crate::Refusal;

/// Why a request does not pass. With the feature `actix`, `axum` or `tower`, it is an error that becomes a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The request has no access token.
    #[error("the request has no access token")]
    NoToken,
    /// The token is not accepted, or this cannot be told now.
    #[error(transparent)]
    Refused(Refusal),
    /// The header `Authorization` cannot be read.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The access cookie occurs twice: one of them may come from another host.
    #[error("the access cookie occurs twice")]
    DuplicateCookie,
    /// A page of a foreign origin sent the request, with the user's cookie.
    #[error("the origin of the page is not allowed to send this request with a cookie")]
    ForeignOrigin,
    /// The user does not have this role.
    #[error("the user does not have the role {0}")]
    MissingRole(String),
}

impl Denied {
    /// The HTTP status of the response: 400, 401, 403 or 503.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoToken => 401,
            Self::Refused(refusal) => refusal.status(),
            Self::BadRequest(_) | Self::DuplicateCookie => 400,
            Self::ForeignOrigin | Self::MissingRole(_) => 403,
        }
    }

    /// The code of the error, as Mintgate names it where Mintgate has the error too.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::SessionEnded) => "SESSION_REVOKED",
            Self::Refused(refusal) if refusal.is_temporary() => "VERIFIER_NOT_READY",
            Self::NoToken | Self::Refused(_) => "INVALID_ACCESS_TOKEN",
            Self::BadRequest(_) => "INVALID_REQUEST",
            Self::DuplicateCookie => "DUPLICATE_COOKIE",
            Self::ForeignOrigin => "CSRF_REJECTED",
            Self::MissingRole(_) => "ACCESS_DENIED",
        }
    }

    /// The headers of the response: its type, `Cache-Control`, and `WWW-Authenticate` (RFC 6750 §3) or `Retry-After`.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ];
        let challenge = match self {
            Self::NoToken => Some("Bearer".to_owned()),
            Self::MissingRole(_) => Some("Bearer error=\"insufficient_scope\"".to_owned()),
            Self::Refused(refusal) if !refusal.is_temporary() => {
                let reason = refusal.to_string().replace('"', "'");
                Some(format!("Bearer error=\"invalid_token\", error_description=\"{reason}\""))
            }
            _ => None,
        };
        headers.extend(challenge.map(|challenge| ("www-authenticate", challenge)));
        if let Self::Refused(refusal) = self {
            headers.extend(refusal.retry_after().map(|secs| ("retry-after", secs.to_string())));
        }
        headers
    }

    /// The body of the response: a JSON object with `errorCode` and `message`.
    pub fn body(&self) -> String {
        let message = self.to_string();
        serde_json::json!({ "errorCode": self.code(), "message": message }).to_string()
    }
}
