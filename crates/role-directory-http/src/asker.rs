//! One question over HTTP: bounded in time and length, without redirects, retries and proxies.

use std::error::Error;
use std::time::Duration;

use mintgate_domain::model::{ExternalIdentity, ProviderId, Role, UserId};
use mintgate_domain::ports::{RoleLookupError, RoleQuestion};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};
use serde::Serialize;
use url::Url;

use crate::answer;
use crate::config::{RoleDirectoryConfig, RoleDirectoryError};

/// A hundred roles need a tenth of it.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Idle connections are kept this long: shorter than servers keep theirs (5 s is what Apache and
/// Node.js do by default), so that no question goes into a connection that is just being closed.
const KEEP_IDLE: Duration = Duration::from_secs(4);
/// After a burst, no more connections than this are kept.
const MAX_IDLE: usize = 32;
/// How much of a foreign text is enough to understand what happened.
const EXCERPT_CHARS: usize = 200;

/// A question that can be kept: whatever is asked is part of it, so two that are equal have one answer.
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

/// A question as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    user_id: String,
    provider: &'a str,
    issuer: &'a str,
    subject: &'a str,
}

/// Why there is no answer. No text of it holds the token, the URL or a word of the answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it answers a redirect (status {0}), which is not followed")]
    Redirect(u16),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer is longer than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("its answer is not declared as application/json")]
    NotJson,
    #[error("its answer {0}")]
    Malformed(String),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("the connection failed before the answer was complete: {0}")]
    Broken(String),
    #[error("no complete answer in time")]
    TimedOut,
}

/// Asks the user system.
pub(crate) struct Asker {
    client: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl Asker {
    /// Sets the client up; connects to nobody.
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
            .map_err(|error| RoleDirectoryError::Client(innermost(&error)))?;
        Ok(Self { client, url: config.url, authorization, timeout: config.timeout })
    }

    /// Asks once, and logs if nothing came of it: where lookups may fail, nobody else would.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Vec<Role>, RoleLookupError> {
        let exchange = tokio::time::timeout(self.timeout, self.exchange(question)).await;
        exchange.unwrap_or(Err(Failure::TimedOut)).map_err(|failure| {
            tracing::warn!(user = %question.user, reason = %failure, "a role lookup failed");
            RoleLookupError(failure.to_string().into())
        })
    }

    async fn exchange(&self, question: &Question) -> Result<Vec<Role>, Failure> {
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
        match answer.status() {
            StatusCode::OK => {}
            // Somebody whom it does not know.
            StatusCode::NOT_FOUND => return Ok(Vec::new()),
            status if status.is_redirection() => return Err(Failure::Redirect(status.as_u16())),
            status => return Err(Failure::Status(status.as_u16())),
        }
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(answer::is_json) {
            return Err(Failure::NotJson);
        }
        answer::read(&body_of(answer).await?).map_err(Failure::Malformed)
    }
}

/// The whole body, if it is not too long.
async fn body_of(mut answer: Response) -> Result<Vec<u8>, Failure> {
    if answer.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(Failure::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| classify(&error))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn classify(error: &reqwest::Error) -> Failure {
    if error.is_connect() {
        Failure::Unreachable(innermost(error))
    } else {
        Failure::Broken(innermost(error))
    }
}

/// The outer errors only say that a request failed, and one of them would repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    let text = cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    text.chars().filter(|c| !c.is_control()).take(EXCERPT_CHARS).collect()
}
