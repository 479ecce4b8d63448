//! Requests to the service, and the checks of every answer that contains tokens.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_testkit::http::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::recorder::Recorder;
use crate::http::{Answer, client, expect, keys, send};
use crate::rig::{CLIENT_SECRET, Mock, REDIRECT_URI, Service, code, code_for_scope};

const ACCESS_ATTRIBUTES: &str = "; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=3600";
const REFRESH_ATTRIBUTES: &str =
    "; Path=/api/v1/auth/refresh; HttpOnly; Secure; SameSite=Lax; Max-Age=2592000";

/// A client of one service; clones share the recorder.
#[derive(Clone)]
pub(super) struct Caller {
    client: Client,
    issuer: String,
    pub(super) recorder: Recorder,
}

impl Caller {
    pub(super) fn new(service: &Service) -> Result<Self> {
        let recorder = Recorder::default();
        recorder.add("client secret", CLIENT_SECRET);
        Ok(Self { client: client()?, issuer: service.base(), recorder })
    }

    /// A fresh authorization code from a provider.
    pub(super) async fn code(&self, provider: &Mock) -> Result<String> {
        self.code_of(&provider.base).await
    }

    /// A fresh authorization code from the mock with this base URL.
    pub(super) async fn code_of(&self, mock: &str) -> Result<String> {
        let code = code(&self.client, mock, "alice").await?;
        self.recorder.add("authorization code", &code);
        Ok(code)
    }

    /// A fresh code for which the provider also gives a refresh token.
    pub(super) async fn offline_code(&self, provider: &Mock) -> Result<String> {
        let scope = "openid profile email offline_access";
        let code = code_for_scope(&self.client, &provider.base, "alice", scope).await?;
        self.recorder.add("authorization code", &code);
        Ok(code)
    }

    /// Requests that a back end makes of the service: with the id and the secret of a client.
    pub(super) fn back_end(&self, path: &str, id: &str, secret: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.issuer)).basic_auth(id, Some(secret))
    }

    /// Posts a code to the service, as a page does.
    pub(super) async fn redeem(&self, provider: &str, code: &str) -> Result<Answer> {
        self.recorder.add("authorization code", code);
        let body = json!({"authCode": code, "provider": provider, "redirectUri": REDIRECT_URI});
        let answer = send(self.client.post(self.url("token")).json(&body)).await?;
        self.recorder.add_answer(answer.status, answer.header("x-request-id"));
        self.record(&answer);
        Ok(answer)
    }

    /// Records the secrets in an answer.
    fn record(&self, answer: &Answer) {
        for cookie in answer.all("set-cookie") {
            let value = cookie.split_once('=').map(|(_, rest)| rest).unwrap_or_default();
            let token = value.split(';').next().unwrap_or_default();
            // A cleared cookie has no value.
            if !token.is_empty() {
                self.recorder.add_token("cookie", token);
            }
        }
        if let Some(token) = answer.json().ok().as_ref().and_then(|it| it["accessToken"].as_str()) {
            self.recorder.add_token("access token", token);
        }
    }

    /// Refreshes with the cookie, as a browser does.
    pub(super) async fn refresh(&self, token: &str) -> Result<Answer> {
        let request = self.client.post(self.url("refresh"));
        let answer = send(request.header("cookie", format!("Auth-Refresh-Token={token}"))).await?;
        self.record(&answer);
        Ok(answer)
    }

    /// Requests `/me` with the access token's cookie.
    pub(super) async fn me(&self, access: &str) -> Result<Answer> {
        let request = self.client.get(self.url("me"));
        send(request.header("cookie", format!("Auth-Access-Token={access}"))).await
    }

    /// Logs out with the access token's cookie.
    pub(super) async fn log_out(&self, access: &str) -> Result<Answer> {
        let request = self.client.post(self.url("logout"));
        send(request.header("cookie", format!("Auth-Access-Token={access}"))).await
    }

    /// Logs out with the access token's cookie, at the provider too.
    pub(super) async fn sign_out(&self, access: &str, uri: &str, state: &str) -> Result<Answer> {
        let request = self.client.post(self.url("logout"));
        let body = json!({"provider": true, "postLogoutRedirectUri": uri, "state": state});
        send(request.header("cookie", format!("Auth-Access-Token={access}")).json(&body)).await
    }

    fn url(&self, endpoint: &str) -> String {
        format!("{}/api/v1/auth/{endpoint}", self.issuer)
    }

    /// Logs in; returns the id of the session.
    pub(super) async fn login(&self, provider: &str, mock: &Mock) -> Result<String> {
        let code = self.code(mock).await?;
        self.session(&self.redeem(provider, &code).await?)
    }

    /// Checks every part of a successful login; returns the id of the session.
    pub(super) fn session(&self, answer: &Answer) -> Result<String> {
        Ok(self.tokens(answer, "Tokens generated successfully.")?.session)
    }

    /// Checks every part of an answer that contains tokens; returns the tokens.
    pub(super) fn tokens(&self, answer: &Answer, message: &str) -> Result<Tokens> {
        answer.expect_status(200)?;
        answer.expect_header("content-type", "application/json")?;
        answer.expect_header("cache-control", "no-store")?;
        answer.header("x-request-id").context("no X-Request-Id")?;
        let body = answer.json()?;
        expect("keys", &keys(&body), &vec!["accessToken", "expiresIn", "message", "tokenType"])?;
        expect("message", &body["message"], &json!(message))?;
        expect("expiresIn", &body["expiresIn"], &json!(3600))?;
        expect("tokenType", &body["tokenType"], &json!("Bearer"))?;
        let access = body["accessToken"].as_str().context("accessToken is no string")?;

        let cookies = answer.all("set-cookie");
        let [access_cookie, refresh_cookie] = cookies.as_slice() else {
            bail!("expected two Set-Cookie, got {}", cookies.len());
        };
        let whole = format!("Auth-Access-Token={access}{ACCESS_ATTRIBUTES}");
        ensure!(*access_cookie == whole, "the access cookie is {access_cookie}");
        let refresh = refresh_cookie
            .strip_prefix("Auth-Refresh-Token=")
            .and_then(|rest| rest.strip_suffix(REFRESH_ATTRIBUTES))
            .with_context(|| format!("the refresh cookie is {refresh_cookie}"))?;

        let (header, claims) = decode(access)?;
        let access_key = header["kid"].as_str().context("the access token has no kid")?.to_owned();
        expect("access token's typ", &header["typ"], &json!("at+jwt"))?;
        expect("access token's iss", &claims["iss"], &json!(self.issuer))?;
        let (header, refresh_claims) = decode(refresh)?;
        let refresh_key =
            header["kid"].as_str().context("the refresh token has no kid")?.to_owned();
        expect("refresh token's typ", &header["typ"], &json!("rt+jwt"))?;
        expect("refresh token's sid", &refresh_claims["sid"], &claims["sid"])?;
        Ok(Tokens {
            session: claims["sid"].as_str().context("the access token has no sid")?.to_owned(),
            generation: refresh_claims["gen"].as_u64().context("the refresh token has no gen")?,
            access: access.to_owned(),
            access_key,
            refresh: refresh.to_owned(),
            refresh_key,
        })
    }
}

/// The tokens in an answer.
pub(super) struct Tokens {
    /// The `sid` of both tokens.
    pub(super) session: String,
    /// The refresh token's `gen`.
    pub(super) generation: u64,
    pub(super) access: String,
    /// The `kid` of the key that signed it.
    pub(super) access_key: String,
    pub(super) refresh: String,
    pub(super) refresh_key: String,
}

/// Checks that an answer is this error, in the format of all errors, without cookies.
pub(super) fn expect_error(answer: &Answer, status: u16, error_code: &str) -> Result<()> {
    answer.expect_status(status)?;
    answer.expect_header("content-type", "application/json")?;
    answer.expect_header("cache-control", "no-store")?;
    let body = answer.json()?;
    expect("errorCode", &body["errorCode"], &json!(error_code))?;
    expect("keys", &keys(&body), &vec!["errorCode", "message", "requestId", "timestamp"])?;
    let request_id = answer.header("x-request-id").context("no X-Request-Id")?;
    expect("requestId", &body["requestId"], &json!(request_id))?;
    ensure!(answer.all("set-cookie").is_empty(), "an error set cookies");
    if status == 401 {
        answer.header("www-authenticate").context("a 401 without WWW-Authenticate")?;
    }
    if status == 503 {
        answer.header("retry-after").context("a 503 without Retry-After")?;
    }
    Ok(())
}

/// The header and the claims of a compact JWS (RFC 7515 §3.1), without verification.
fn decode(token: &str) -> Result<(Value, Value)> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, _signature] = parts.as_slice() else {
        bail!("a compact JWS has three parts, not {}", parts.len());
    };
    let json = |part: &str| -> Result<Value> {
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
    };
    Ok((json(header)?, json(payload)?))
}
