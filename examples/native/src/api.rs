//! Mintgate's endpoints, and what their answers mean.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::StatusCode;
use ureq::{Agent, Body, http::Response};

/// Why a command has not done what it should.
pub enum Failure {
    /// The session has ended.
    SignedOut,
    /// Nothing is known: Mintgate cannot be reached, or cannot say. Nothing has changed.
    Unavailable(String),
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedOut => f.write_str("you are signed out: run sign-in"),
            Self::Unavailable(why) => write!(f, "try again later: {why}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
}

/// What a login at a provider needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    pub id: String,
    pub client_id: String,
    pub authorization_endpoint: String,
    pub scopes: Vec<String>,
    #[serde(default)]
    pub authorization_params: std::collections::BTreeMap<String, String>,
}

pub struct Api {
    agent: Agent,
    base: String,
}

impl Api {
    pub fn new(url: &str) -> Self {
        let limit = Some(Duration::from_secs(10));
        let agent = Agent::config_builder()
            .timeout_global(limit)
            .http_status_as_error(false)
            .max_redirects(0);
        Self {
            agent: agent.build().into(),
            base: format!("{}/api/v1/auth", url.trim_end_matches('/')),
        }
    }

    pub fn provider(&self, id: &str) -> Result<Provider, Failure> {
        #[derive(Deserialize)]
        struct Providers {
            providers: Vec<Provider>,
        }
        let answer = self.agent.get(format!("{}/providers", self.base)).call()?;
        let Providers { providers } = read(answer)?;
        let found = providers.into_iter().find(|it| it.id == id);
        found.ok_or_else(|| Failure::Other(format!("Mintgate has no provider {id}")))
    }

    /// Redeems an authorization code.
    pub fn redeem(&self, login: &Value) -> Result<Tokens, Failure> {
        read(self.agent.post(format!("{}/token", self.base)).send_json(login)?)
    }

    pub fn refresh(&self, token: &str) -> Result<Tokens, Failure> {
        let body = json!({ "refreshToken": token });
        // If the answer is lost, the same token gets the same successor later.
        read(self.agent.post(format!("{}/refresh", self.base)).send_json(body)?)
    }

    pub fn log_out(&self, token: &str) -> Result<(), Failure> {
        let body = json!({ "refreshToken": token });
        match read::<Value>(self.agent.post(format!("{}/logout", self.base)).send_json(body)?) {
            Ok(_) | Err(Failure::SignedOut) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// The `sub` of whose access token this is.
    pub fn me(&self, access: &str) -> Result<String, Failure> {
        let request = self.agent.get(format!("{}/me", self.base));
        let me: Value = read(request.header("authorization", format!("Bearer {access}")).call()?)?;
        Ok(me["sub"].as_str().unwrap_or_default().to_owned())
    }
}

/// The answer's JSON. Only the codes named here end a session; an answer that is no JSON is somebody else's.
fn read<T: serde::de::DeserializeOwned>(mut answer: Response<Body>) -> Result<T, Failure> {
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(answer.body_mut().read_json()?);
    }
    let told: Value = answer.body_mut().read_json().unwrap_or_default();
    let code = told["errorCode"].as_str().unwrap_or("no code");
    match code {
        "INVALID_REFRESH_TOKEN"
        | "REFRESH_TOKEN_EXPIRED"
        | "REFRESH_TOKEN_REUSED"
        | "SESSION_REVOKED"
        | "ACCESS_DENIED" => Err(Failure::SignedOut),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::Unavailable(format!("{status} {code}")))
        }
        _ => Err(Failure::Other(format!("Mintgate refuses: {status} {code}"))),
    }
}
