//! A session as its client has it: its tokens, and the requests it makes with them.

use mintgate_testkit::http::RequestBuilder;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{TestService, claims};

pub(crate) const REFRESH: &str = "/api/v1/auth/refresh";
pub(crate) const LOGOUT: &str = "/api/v1/auth/logout";
pub(crate) const LOGOUT_ALL: &str = "/api/v1/auth/logout-all";
pub(crate) const ME: &str = "/api/v1/auth/me";
pub(crate) const SESSIONS: &str = "/api/v1/auth/sessions";

/// What clears both cookies, to the letter.
pub(crate) const CLEARED: [&str; 2] = [
    "Auth-Access-Token=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0",
    "Auth-Refresh-Token=; Path=/api/v1/auth/refresh; HttpOnly; Secure; SameSite=Lax; Max-Age=0",
];

/// The tokens of a session.
#[derive(Clone, PartialEq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    /// Those of a successful answer, by cookie or in its body.
    pub(crate) async fn of(answer: Response) -> Self {
        let status = answer.status();
        let cookies = cookies(&answer);
        let text = answer.text().await.expect("a body");
        assert_eq!(status, StatusCode::OK, "{text}");
        let body: Value = serde_json::from_str(&text).expect("JSON");
        let access = body["accessToken"].as_str().expect("an access token").to_owned();
        let refresh = body["refreshToken"].as_str().map_or_else(
            || {
                let value = cookies[1].strip_prefix("Auth-Refresh-Token=").expect("its cookie");
                value.split(';').next().unwrap_or_default().to_owned()
            },
            str::to_owned,
        );
        Self { access, refresh }
    }

    pub(crate) fn sid(&self) -> String {
        claims(&self.access)["sid"].as_str().expect("a sid").to_owned()
    }

    pub(crate) fn generation(&self) -> u64 {
        claims(&self.refresh)["gen"].as_u64().expect("a generation")
    }
}

/// The `Set-Cookie` values of an answer.
pub(crate) fn cookies(answer: &Response) -> Vec<String> {
    let values = answer.headers().get_all("set-cookie").iter();
    values.map(|value| value.to_str().expect("text").to_owned()).collect()
}

/// A `Cookie` header with a refresh token.
pub(crate) fn refresh_cookie(token: &str) -> String {
    format!("Auth-Refresh-Token={token}")
}

/// A `Cookie` header with an access token.
pub(crate) fn access_cookie(token: &str) -> String {
    format!("Auth-Access-Token={token}")
}

impl TestService {
    /// A new session of alice's, by cookie.
    pub(crate) async fn signed_in(&self) -> Tokens {
        self.signed_in_as("alice").await
    }

    pub(crate) async fn signed_in_as(&self, user: &str) -> Tokens {
        Tokens::of(self.login(&self.code_for(user)).await).await
    }

    /// A request to refresh by cookie.
    pub(crate) fn refresh(&self, token: &str) -> RequestBuilder {
        self.client.post(self.url(REFRESH)).header("cookie", refresh_cookie(token))
    }

    /// A request to refresh by body.
    pub(crate) fn refresh_by_body(&self, token: &str) -> RequestBuilder {
        self.client.post(self.url(REFRESH)).json(&json!({ "refreshToken": token }))
    }

    /// Refreshes by cookie.
    pub(crate) async fn refreshed(&self, token: &str) -> Tokens {
        Tokens::of(self.refresh(token).send().await.expect("an answer")).await
    }

    /// A request to log out by bearer token.
    pub(crate) fn log_out(&self, access: &str) -> RequestBuilder {
        self.client.post(self.url(LOGOUT)).bearer_auth(access)
    }

    /// A request for what a token says.
    pub(crate) fn me(&self, access: &str) -> RequestBuilder {
        self.client.get(self.url(ME)).bearer_auth(access)
    }

    /// The row of a session.
    pub(crate) async fn row(&self, sid: &str) -> String {
        let dump = self.dump().await;
        let (plain, hex) = (sid.to_lowercase(), sid.replace('-', "").to_uppercase());
        let mut rows = dump.rows("sessions").iter();
        let row = rows.find(|row| row.contains(&plain) || row.contains(&hex));
        row.unwrap_or_else(|| panic!("no session {sid} in:\n{dump:?}")).clone()
    }

    /// Lets time go by since all last rotations: so many seconds.
    pub(crate) async fn age_rotations(&self, secs: u32) {
        self.sql(
            &format!("UPDATE sessions SET rotated_at = rotated_at - {secs}"),
            &format!("UPDATE sessions SET rotated_at = rotated_at - interval '{secs} seconds'"),
        )
        .await;
    }
}
