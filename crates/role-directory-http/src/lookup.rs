//! One lookup over HTTP, bounded in time and length, without redirects, retries and proxies.

use std::error::Error;
use std::time::Duration;

use mintgate_domain::model::{ExternalIdentity, ProviderId, Role, UserId};
use mintgate_domain::ports::{RoleLookupError, RoleQuestion};
use mintgate_domain::{Cause, chain};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};
use serde::Serialize;
use url::Url;

use crate::answer::{self, AnswerError};
use crate::config::{RoleDirectoryConfig, RoleDirectoryError};

/// The longest answer that is read, in bytes. The largest answer allowed, 100 roles, needs a tenth of it.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long an idle connection is kept. Shorter than servers keep theirs (5 s is the default of Apache
/// and Node.js), so that no request is sent on a connection that is being closed.
const KEEP_IDLE: Duration = Duration::from_secs(4);
/// The most idle connections that are kept open.
const MAX_IDLE: usize = 32;
/// The longest excerpt of a foreign text in the log, in characters.
const EXCERPT_CHARS: usize = 200;

/// A question as a key of the cache: equal questions have the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    user: UserId,
    provider: ProviderId,
    identity: ExternalIdentity,
}

impl From<RoleQuestion<'_>> for Question {
    fn from(question: RoleQuestion<'_>) -> Self {
        Self {
            user: question.user,
            provider: question.provider.clone(),
            identity: question.identity.clone(),
        }
    }
}

/// The JSON body of a lookup.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    user_id: String,
    provider: &'a str,
    issuer: &'a str,
    subject: &'a str,
}

/// Why a lookup failed: the source of the cause in a [`RoleLookupError`]. No variant holds the token, the
/// URL or any text of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupFailure {
    /// The user system answers a redirect with this status.
    #[error("it answers a redirect (status {0}), which is not followed")]
    Redirect(u16),
    /// The user system answers with this status, neither 200 nor 404.
    #[error("it answers with status {0}")]
    Status(u16),
    /// The answer is longer than 64 KiB.
    #[error("its answer is longer than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// The answer has another `Content-Type` than `application/json`.
    #[error("its answer is not declared as application/json")]
    NotJson,
    /// The answer is not of the documented form.
    #[error("its answer cannot be used")]
    Malformed(#[source] AnswerError),
    /// No connection to the user system could be made.
    #[error("it cannot be reached")]
    Unreachable(#[source] TransportError),
    /// The connection failed before the answer was complete.
    #[error("the connection failed before the answer was complete")]
    Broken(#[source] TransportError),
    /// The answer was not complete within the timeout.
    #[error("no complete answer in time")]
    TimedOut,
}

/// The innermost cause of a failed request, as an excerpt: the outer ones say only that a request failed,
/// and one of them repeats the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(String);

/// The HTTP client for lookups.
pub(crate) struct LookupClient {
    client: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl LookupClient {
    /// Sets the client up without connecting.
    pub(crate) fn new(config: RoleDirectoryConfig) -> Result<Self, RoleDirectoryError> {
        config.check_url()?;
        let authorization = config.authorization()?;
        let client = reqwest::Client::builder()
            .user_agent(concat!("mintgate/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .pool_idle_timeout(KEEP_IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .build()
            .map_err(|error| RoleDirectoryError::Client(innermost(&error).0))?;
        Ok(Self { client, url: config.url, authorization, timeout: config.timeout })
    }

    /// Looks roles up, once. Logs a failure, because the caller does not where lookups may fail.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Vec<Role>, RoleLookupError> {
        let exchange = tokio::time::timeout(self.timeout, self.exchange(question)).await;
        exchange.unwrap_or(Err(LookupFailure::TimedOut)).map_err(|failure| {
            tracing::warn!(user = %question.user, reason = %chain(&failure), "a role lookup failed");
            RoleLookupError(Cause::from_error("the user system gave no usable answer", failure))
        })
    }

    #[tracing::instrument(
        name = "http_client_request",
        level = "debug",
        skip_all,
        fields(
            otel.kind = "client",
            http.request.method = "POST",
            server.address = self.url.host_str(),
            server.port = self.url.port_or_known_default(),
            http.response.status_code,
        )
    )]
    async fn exchange(&self, question: &Question) -> Result<Vec<Role>, LookupFailure> {
        let body = Body {
            user_id: question.user.to_string(),
            provider: question.provider.as_str(),
            issuer: &question.identity.issuer,
            subject: &question.identity.subject,
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .json(&body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answer = request.send().await.map_err(|error| classify(&error))?;
        tracing::Span::current().record("http.response.status_code", answer.status().as_u16());
        match answer.status() {
            StatusCode::OK => {}
            // The user system does not know the person.
            StatusCode::NOT_FOUND => return Ok(Vec::new()),
            status if status.is_redirection() => {
                return Err(LookupFailure::Redirect(status.as_u16()));
            }
            status => return Err(LookupFailure::Status(status.as_u16())),
        }
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(answer::is_json) {
            return Err(LookupFailure::NotJson);
        }
        answer::read(&body_of(answer).await?).map_err(LookupFailure::Malformed)
    }
}

/// The body, if it is not too long.
async fn body_of(mut answer: Response) -> Result<Vec<u8>, LookupFailure> {
    if answer.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(LookupFailure::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| classify(&error))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(LookupFailure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn classify(error: &reqwest::Error) -> LookupFailure {
    if error.is_connect() {
        LookupFailure::Unreachable(innermost(error))
    } else {
        LookupFailure::Broken(innermost(error))
    }
}

fn innermost(error: &reqwest::Error) -> TransportError {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    let text = cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    TransportError(text.chars().filter(|c| !c.is_control()).take(EXCERPT_CHARS).collect())
}
