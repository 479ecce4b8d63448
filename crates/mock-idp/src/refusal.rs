//! Why the token endpoint refuses, and in which words.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::shared::Shared;

/// A reason of the token endpoint to refuse. Each dialect has its own words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// The request is malformed.
    Request,
    /// The grant type is not offered.
    GrantType,
    /// The client is unknown or did not prove itself.
    Client,
    /// What the client proves itself with has run out.
    ExpiredClient,
    /// The code is unknown, or another client's.
    Code,
    /// The code is too old.
    ExpiredCode,
    /// The code was used before.
    UsedCode,
    /// The redirect URI is not the authorization request's.
    RedirectUri,
    /// The PKCE verifier is missing, wrong or needless.
    Verifier,
    /// The refresh token is unknown, used up or revoked.
    RefreshToken,
    /// The account was disabled since.
    DisabledUser,
}

/// A dialect's words for a refusal: the HTTP status, `error` and `error_description`. An empty
/// description is left out.
pub(crate) type Wording = (Refusal, u16, &'static str, &'static str);

/// A refusal with a description for whoever has no words of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenError {
    pub refusal: Refusal,
    pub description: &'static str,
}

impl TokenError {
    pub(crate) fn new(refusal: Refusal, description: &'static str) -> Self {
        Self { refusal, description }
    }
}

impl Refusal {
    /// What a dialect without words for this says instead.
    fn general(self) -> Option<Self> {
        match self {
            Self::ExpiredClient => Some(Self::Client),
            Self::ExpiredCode | Self::UsedCode | Self::RedirectUri | Self::Verifier => {
                Some(Self::Code)
            }
            Self::DisabledUser => Some(Self::RefreshToken),
            _ => None,
        }
    }

    /// The words of RFC 6749 §5.2.
    fn standard(self) -> (u16, &'static str) {
        match self {
            Self::Request => (400, "invalid_request"),
            Self::GrantType => (400, "unsupported_grant_type"),
            Self::Client | Self::ExpiredClient => (401, "invalid_client"),
            _ => (400, "invalid_grant"),
        }
    }

    fn words(self, dialect: &'static [Wording], description: &'static str) -> Wording {
        let mut wanted = Some(self);
        while let Some(refusal) = wanted {
            if let Some(words) = dialect.iter().find(|words| words.0 == refusal) {
                return *words;
            }
            wanted = refusal.general();
        }
        let (status, error) = self.standard();
        (self, status, error, description)
    }
}

/// A refusal as the mock's dialect puts it.
pub(crate) fn answer(shared: &Shared, headers: &HeaderMap, error: TokenError) -> HttpResponse {
    let traits = shared.traits();
    let words = error.refusal.words(traits.errors, error.description);
    let status = StatusCode::from_u16(words.1).unwrap_or(StatusCode::BAD_REQUEST);
    let mut builder = HttpResponse::build(status);
    if status == StatusCode::UNAUTHORIZED {
        builder.insert_header((WWW_AUTHENTICATE, "Basic realm=\"mock\""));
    }
    (traits.encode)(builder, headers, &(traits.error_body)(&words))
}

/// The body of RFC 6749 §5.2.
pub(crate) fn standard_body(words: &Wording) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("error".into(), words.2.into());
    if !words.3.is_empty() {
        body.insert("error_description".into(), words.3.into());
    }
    body
}
