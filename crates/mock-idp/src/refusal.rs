//! Refusals of the token endpoint, and how each dialect words them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::shared::Shared;

/// Why the token endpoint refuses a request. Each dialect words it in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// The request is malformed.
    Request,
    /// The grant type is not offered.
    GrantType,
    /// The client is unknown or failed to authenticate.
    Client,
    /// The credentials of the client have expired.
    ExpiredClient,
    /// The code is unknown, or was issued to another client.
    Code,
    /// The code has expired.
    ExpiredCode,
    /// The code was used before.
    UsedCode,
    /// The redirect URI is not that of the authorization request.
    RedirectUri,
    /// The PKCE verifier is missing, wrong, or present without a challenge.
    Verifier,
    /// The refresh token is unknown, used up or revoked.
    RefreshToken,
    /// The account has been disabled.
    DisabledUser,
}

/// How a dialect words a refusal: the HTTP status, `error` and `error_description`. An empty
/// description is left out.
pub(crate) type Wording = (Refusal, u16, &'static str, &'static str);

/// A refusal with a description for dialects that have none of their own.
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
    /// The more general refusal, for a dialect that does not know this one.
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

    /// Status and error code of RFC 6749 §5.2.
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

/// The answer for a refusal, as the dialect words it.
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

/// The error body of RFC 6749 §5.2.
pub(crate) fn standard_body(words: &Wording) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("error".into(), words.2.into());
    if !words.3.is_empty() {
        body.insert("error_description".into(), words.3.into());
    }
    body
}
