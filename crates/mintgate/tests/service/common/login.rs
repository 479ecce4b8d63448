//! A login that begins at the service, goes to the provider, and comes back.

use std::collections::BTreeMap;

use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::TestService;
use super::session::cookies;

pub(crate) const LOGIN: &str = "/api/v1/auth/login";
pub(crate) const IDENTITIES: &str = "/api/v1/auth/identities";

/// A login under way, as its browser has it.
#[derive(Clone)]
pub(crate) struct Begun {
    pub(crate) authorization_url: String,
    /// The whole `Set-Cookie` value.
    pub(crate) set_cookie: String,
}

impl Begun {
    /// As the browser sends it back.
    pub(crate) fn cookie(&self) -> &str {
        self.set_cookie.split(';').next().unwrap_or_default()
    }
}

/// What comes back from the provider in the redirect.
pub(crate) type AuthorizationResponse = BTreeMap<String, String>;

impl TestService {
    pub(crate) fn login_request(&self, body: &Value) -> RequestBuilder {
        self.client.post(self.url(LOGIN)).json(body)
    }

    /// Begins a login with its only redirect URI.
    pub(crate) async fn begin_login(&self, provider: &str) -> Begun {
        let answer = self.login_request(&json!({ "provider": provider })).send().await.unwrap();
        let status = answer.status();
        let set_cookie = cookies(&answer).pop();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        let member = |name: &str| body[name].as_str().unwrap().to_owned();
        Begun { authorization_url: member("authorizationUrl"), set_cookie: set_cookie.unwrap() }
    }

    /// Goes to the provider with this authorization URL as somebody who has a session there.
    pub(crate) async fn at_provider(&self, url: &str, user: &str) -> AuthorizationResponse {
        let mut url = Url::parse(url).unwrap();
        url.query_pairs_mut().append_pair("prompt", "none").append_pair("login_hint", user);
        let answer = self.client.get(url).send().await.unwrap();
        let location = answer.headers()["location"].to_str().unwrap();
        let response = Url::parse(location).unwrap();
        response.query_pairs().into_owned().collect()
    }

    /// What a page posts when the browser is back, with nothing but what came back.
    pub(crate) fn finish(&self, response: &AuthorizationResponse, cookie: &str) -> RequestBuilder {
        self.post(&posted(response)).header("cookie", cookie)
    }

    /// The same, to link the identity.
    pub(crate) fn link(
        &self,
        access: &str,
        response: &AuthorizationResponse,
        cookie: &str,
    ) -> RequestBuilder {
        let request = self.client.post(self.url(IDENTITIES)).bearer_auth(access);
        request.header("cookie", cookie).json(&posted(response))
    }

    /// A whole login; what is to be posted and the cookie to post it with.
    pub(crate) async fn response_for(&self, user: &str) -> (AuthorizationResponse, String) {
        let begun = self.begin_login("corp").await;
        let response = self.at_provider(&begun.authorization_url, user).await;
        (response, begun.cookie().to_owned())
    }
}

/// An authorization response as the body of a request.
pub(crate) fn posted(response: &AuthorizationResponse) -> Value {
    let mut body = json!({ "authCode": response["code"], "state": response["state"] });
    if let Some(issuer) = response.get("iss") {
        body["iss"] = json!(issuer);
    }
    body
}
