//! A mock and a client that talks to it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_mock_idp::{IdTokenAlg, MockClient, MockConfig, MockIdp, SignIn};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;

pub(crate) const CLIENT: (&str, &str) = ("mintgate", "mintgate-dev-secret");
pub(crate) const REDIRECT_URI: &str = "https://app.example.com/callback";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A running mock with a client of its own.
pub(crate) struct Mock {
    pub(crate) idp: MockIdp,
    pub(crate) http: Client,
}

/// A mock that signs with EdDSA, whose keys are made in no time.
pub(crate) async fn mock() -> Mock {
    start(MockConfig { id_token_alg: IdTokenAlg::EdDsa, ..MockConfig::default() }).await
}

/// A mock that also knows the public client `app`.
pub(crate) async fn mock_with_public_client() -> Mock {
    let mut config = MockConfig { id_token_alg: IdTokenAlg::EdDsa, ..MockConfig::default() };
    config.clients.push(MockClient {
        id: "app".into(),
        secret: None,
        redirect_uris: vec![REDIRECT_URI.into()],
    });
    start(config).await
}

pub(crate) async fn start(config: MockConfig) -> Mock {
    let idp = MockIdp::start(config).await.expect("the mock starts");
    let http = Client::builder().redirect(Policy::none()).no_proxy().build().expect("a client");
    Mock { idp, http }
}

pub(crate) fn sign_in() -> SignIn {
    SignIn { redirect_uri: REDIRECT_URI.into(), ..SignIn::default() }
}

pub(crate) fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

impl Mock {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.idp.issuer())
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().await.expect("an answer")
    }

    pub(crate) async fn get_json(&self, path: &str) -> Value {
        self.get(path).await.json().await.expect("JSON")
    }

    /// Posts a form to the token endpoint as the default client.
    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> Response {
        self.http
            .post(self.url("/token"))
            .basic_auth(CLIENT.0, Some(CLIENT.1))
            .form(form)
            .send()
            .await
            .expect("an answer")
    }

    /// Exchanges a code as the default client, without a verifier.
    pub(crate) async fn exchange(&self, code: &str) -> Response {
        self.token(&grant(code)).await
    }

    /// A sign-in through a fresh code; its token answer.
    pub(crate) async fn tokens(&self) -> Value {
        let code = self.idp.control().issue_code(sign_in());
        let answer = self.exchange(&code).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }
}

/// The form of an exchange without a verifier.
pub(crate) fn grant(code: &str) -> Vec<(&'static str, &str)> {
    vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT_URI)]
}

/// The error code of a refused token request, and that it is one.
pub(crate) async fn refusal(answer: Response, status: u16) -> String {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: Value = answer.json().await.expect("JSON");
    assert!(body.get("access_token").is_none());
    body["error"].as_str().expect("an error code").to_owned()
}

/// A parameter that the redirect of an authorization answer carries.
pub(crate) fn redirected(answer: &Response, name: &str) -> Option<String> {
    assert_eq!(answer.status(), 303);
    let location = answer.headers()["location"].to_str().expect("text");
    assert!(location.starts_with(&format!("{REDIRECT_URI}?")), "{location}");
    let url = Url::parse(location).expect("a URL");
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A part of a token, decoded.
pub(crate) fn part(token: &str, index: usize) -> Map<String, Value> {
    let segment = token.split('.').nth(index).expect("the part is there");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(segment).expect("base64url");
    serde_json::from_slice(&bytes).expect("an object")
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the mock goes by the real clock")]
pub(crate) fn now_secs() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}
