//! The service's endpoints as the clients call them: written down before, and when the outcome is known.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::journal::{Journal, Kind, Purpose, Request, Token};
use super::rig::PROVIDER;
use crate::rig::{CLIENT_ID, REDIRECT_URI};

/// Longer than the service may take to answer that it is unavailable.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const MOCK_LIMIT: Duration = Duration::from_secs(1);

/// A session's tokens, as a client holds them.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) refresh: String,
    pub(super) access: String,
    pub(super) token: Token,
}

/// The outcome of a request, as far as a well-behaved client cares.
pub(super) enum Outcome {
    Granted(Box<Grant>),
    /// Answered with 200 and no tokens.
    Done,
    /// No answer, 503 or 504: the request is to be repeated.
    Unknown,
    /// Any other answer: repeating the request is no use.
    Refused,
}

/// Who sends a request, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub(super) client: u32,
    pub(super) login: u32,
    pub(super) purpose: Purpose,
}

/// A login request, the same in each attempt.
pub(super) struct SignIn {
    pub(super) key: String,
    body: String,
}

impl SignIn {
    pub(super) fn new(provider: &str, key: String, code: &str) -> Self {
        let body = json!({
            "authCode": code, "provider": provider, "redirectUri": REDIRECT_URI,
            "tokenDelivery": "body",
        });
        Self { key, body: body.to_string() }
    }
}

/// The service's replicas and the providers, with a journal of all requests to the service.
pub(super) struct Api {
    http: reqwest::Client,
    replicas: Vec<String>,
    /// The issuers of the provider that all clients use and of the one that may be paused.
    providers: [String; 2],
    pub(super) journal: Arc<Journal>,
}

impl Api {
    pub(super) fn new(
        replicas: Vec<String>,
        providers: [String; 2],
        journal: Arc<Journal>,
    ) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Each request has a connection of its own, so that a fault of one is a fault of the other.
            .pool_max_idle_per_host(0)
            .timeout(ANSWER_LIMIT)
            .build()?;
        Ok(Self { http, replicas, providers, journal })
    }

    pub(super) fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// An authorization code, as if this client's user had just signed in at the provider; none if
    /// the provider hangs.
    pub(super) async fn code(&self, provider: &str, client: u32) -> Option<String> {
        let sign_in = json!({
            "user": format!("client-{client}"), "clientId": CLIENT_ID, "redirectUri": REDIRECT_URI,
        });
        let [mock, paused] = &self.providers;
        let issuer = if provider == PROVIDER { mock } else { paused };
        let url = format!("{issuer}/control/code");
        let asked = self.http.post(url).timeout(MOCK_LIMIT).json(&sign_in).send().await.ok()?;
        let body: Value = asked.json().await.ok()?;
        Some(body["code"].as_str()?.to_owned())
    }

    pub(super) async fn log_in(
        &self,
        sender: Sender,
        replica: usize,
        sign_in: &SignIn,
    ) -> Result<Outcome> {
        let request = self
            .http
            .post(self.url(replica, "/api/v1/auth/token"))
            .header("content-type", "application/json")
            .header("idempotency-key", &sign_in.key)
            .body(sign_in.body.clone());
        self.ask(sender, Kind::Login, None, request).await
    }

    pub(super) async fn refresh(
        &self,
        sender: Sender,
        replica: usize,
        grant: &Grant,
    ) -> Result<Outcome> {
        let body = json!({ "refreshToken": grant.refresh });
        let request = self.http.post(self.url(replica, "/api/v1/auth/refresh")).json(&body);
        self.ask(sender, Kind::Refresh, Some(grant), request).await
    }

    pub(super) async fn me(
        &self,
        sender: Sender,
        replica: usize,
        grant: &Grant,
    ) -> Result<Outcome> {
        let request =
            self.http.get(self.url(replica, "/api/v1/auth/me")).bearer_auth(&grant.access);
        self.ask(sender, Kind::Me, Some(grant), request).await
    }

    /// Logs out by the access token, or by the refresh token in the body.
    pub(super) async fn log_out(
        &self,
        sender: Sender,
        replica: usize,
        grant: &Grant,
        by_refresh: bool,
    ) -> Result<Outcome> {
        let request = self.http.post(self.url(replica, "/api/v1/auth/logout"));
        let request = if by_refresh {
            request.json(&json!({ "refreshToken": grant.refresh }))
        } else {
            request.bearer_auth(&grant.access)
        };
        self.ask(sender, Kind::Logout, Some(grant), request).await
    }

    /// The live sessions of a grant's user. The journal does not have this request: it is sent when
    /// all faults are over.
    pub(super) async fn live_sessions(&self, grant: &Grant) -> Result<Vec<String>> {
        let url = self.url(0, "/api/v1/auth/sessions");
        let asked = self.http.get(url).bearer_auth(&grant.access).send().await?;
        let body: Value = asked.error_for_status()?.json().await?;
        let sessions = body["sessions"].as_array().context("the answer lists no sessions")?;
        let sid = |session: &Value| Some(session["sid"].as_str()?.to_owned());
        sessions.iter().map(|session| sid(session).context("a session has no sid")).collect()
    }

    fn url(&self, replica: usize, path: &str) -> String {
        let base = self.replicas.get(replica).map(String::as_str).unwrap_or_default();
        format!("{base}{path}")
    }

    async fn ask(
        &self,
        sender: Sender,
        kind: Kind,
        grant: Option<&Grant>,
        request: RequestBuilder,
    ) -> Result<Outcome> {
        let Sender { client, login, purpose } = sender;
        let token = grant.map(|grant| grant.token.clone());
        let id = self.journal.sent(Request { client, login, kind, purpose, token })?;
        match whole(request.send().await).await {
            Ok((status, body)) => {
                let code = body["errorCode"].as_str().map(str::to_owned);
                let granted = (status == 200).then(|| Grant::of(&body)).flatten();
                let token = granted.as_ref().map(|grant| grant.token.clone());
                self.journal.answered(id, status, code, token)?;
                Ok(match (status, granted) {
                    (200, Some(grant)) => Outcome::Granted(Box::new(grant)),
                    (200, None) => Outcome::Done,
                    (503 | 504, _) => Outcome::Unknown,
                    _ => Outcome::Refused,
                })
            }
            Err(error) => {
                self.journal.unanswered(id, reason(&error))?;
                Ok(Outcome::Unknown)
            }
        }
    }
}

/// The status and body of an answer that has arrived whole.
async fn whole(answer: reqwest::Result<Response>) -> reqwest::Result<(u16, Value)> {
    let answer = answer?;
    let (status, text) = (answer.status().as_u16(), answer.text().await?);
    Ok((status, serde_json::from_str(&text).unwrap_or_default()))
}

fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

impl Grant {
    fn of(body: &Value) -> Option<Self> {
        let refresh = body["refreshToken"].as_str()?.to_owned();
        let access = body["accessToken"].as_str()?.to_owned();
        let payload = URL_SAFE_NO_PAD.decode(refresh.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        let token = Token {
            sid: claims["sid"].as_str()?.to_owned(),
            generation: claims["gen"].as_u64()?,
            hash: hex(&Sha256::digest(&refresh)),
        };
        Some(Self { refresh, access, token })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_known_by_its_refresh_tokens_claims_and_digest() {
        let payload = URL_SAFE_NO_PAD.encode(br#"{"sid":"s","gen":7}"#);
        let refresh = format!("e30.{payload}.c2ln");
        let grant = Grant::of(&json!({ "refreshToken": refresh, "accessToken": "a" })).unwrap();
        assert_eq!((grant.token.sid.as_str(), grant.token.generation), ("s", 7));
        assert_eq!(grant.token.hash.len(), 64);
        assert!(Grant::of(&json!({ "accessToken": "a" })).is_none());
        assert_eq!(hex(&Sha256::digest("abc"))[..8], *"ba7816bf");
    }
}
