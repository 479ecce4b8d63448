//! Each dialect: what it publishes, a login from authorize to claims, and how it fails.

mod adfs;
mod apple;
mod auth0;
mod cognito;
mod entra;
mod github;
mod gitlab;
mod google;
mod keycloak;
mod okta;
mod plain;

use std::collections::BTreeMap;

use mintgate_mock_idp::{Dialect, IdTokenAlg, MockConfig, MockUser};
use reqwest::Response;
use serde_json::{Map, Value};

use crate::support::{CLIENT, Mock, REDIRECT_URI, VERIFIER, challenge, grant, part, start};

/// A parameter of a request.
type Pair<'a> = (&'a str, &'a str);

fn config(dialect: Dialect) -> MockConfig {
    MockConfig { dialect, id_token_alg: IdTokenAlg::EdDsa, ..MockConfig::default() }
}

async fn speaking(dialect: Dialect) -> Mock {
    start(config(dialect)).await
}

/// A mock with one more person, `dora`.
async fn with_user(dialect: Dialect, change: impl FnOnce(&mut MockUser)) -> Mock {
    let mut config = config(dialect);
    let mut dora = MockUser::new("dora", "Dora Distant", true, &["support"]);
    change(&mut dora);
    config.users.push(dora);
    start(config).await
}

impl Mock {
    async fn discovered(&self) -> Value {
        let url = self.idp.urls().discovery.as_ref().expect("there is discovery");
        self.json(self.http.get(url)).await
    }

    async fn json(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }

    /// The authorization request, answered by picking somebody.
    async fn pick(&self, endpoint: &str, user: &str, changes: &[Pair<'_>]) -> Response {
        let challenge = challenge();
        let mut form = BTreeMap::from([
            ("client_id", CLIENT.0),
            ("redirect_uri", REDIRECT_URI),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", "s t&te"),
            ("nonce", "n-0S6"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("user", user),
        ]);
        form.extend(changes.iter().copied());
        self.http.post(endpoint).form(&form).send().await.expect("an answer")
    }

    /// A code, by the way over the authorization endpoint, and the response it came in.
    async fn code(&self, user: &str, changes: &[Pair<'_>]) -> BTreeMap<String, String> {
        let answer = self.pick(&self.idp.urls().authorize, user, changes).await;
        let response = response(answer).await;
        assert_eq!(response["state"], "s t&te");
        assert!(response.contains_key("code"), "{response:?}");
        response
    }

    /// Exchanges a code, with the secret in the form and the verifier.
    async fn redeem(&self, code: &str, changes: &[Pair<'_>]) -> Response {
        let mut form: BTreeMap<_, _> = grant(code).into_iter().collect();
        form.extend([
            ("client_id", CLIENT.0),
            ("client_secret", CLIENT.1),
            ("code_verifier", VERIFIER),
        ]);
        form.extend(changes.iter().copied());
        self.http.post(&self.idp.urls().token).form(&form).send().await.expect("an answer")
    }

    /// A whole login; the token answer.
    async fn log_in(&self, user: &str, changes: &[Pair<'_>]) -> Value {
        let response = self.code(user, changes).await;
        let answer = self.redeem(&response["code"], &[]).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }

    async fn userinfo(&self, tokens: &Value) -> Response {
        let url = self.idp.urls().userinfo.as_ref().expect("there is userinfo");
        self.http.get(url).bearer_auth(text(&tokens["access_token"])).send().await.expect("one")
    }

    /// What a wrong code is answered: the status and the body.
    async fn refused_code(&self) -> (u16, Value) {
        answered(self.redeem("nonsense", &[]).await).await
    }

    /// What a wrong client secret is answered.
    async fn refused_client(&self) -> (u16, Value) {
        let response = self.code("alice", &[]).await;
        answered(self.redeem(&response["code"], &[("client_secret", "wrong")]).await).await
    }
}

async fn answered(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn id_claims(tokens: &Value) -> Map<String, Value> {
    part(text(&tokens["id_token"]), 1)
}

/// The members of an authorization response, however it came.
async fn response(answer: Response) -> BTreeMap<String, String> {
    if answer.status() == 303 {
        let location = answer.headers()["location"].to_str().expect("text").to_owned();
        let (uri, members) = location.split_once(['?', '#']).expect("a response");
        assert_eq!(uri, REDIRECT_URI);
        return url::form_urlencoded::parse(members.as_bytes()).into_owned().collect();
    }
    assert_eq!(answer.status(), 200);
    let page = answer.text().await.expect("a page");
    assert!(page.contains("<form method=\"post\" action=\"https://app.example.com/callback\">"));
    assert!(page.contains("document.forms[0].submit()"));
    let inputs = page.split("<input type=\"hidden\" name=\"").skip(1);
    let member = |input: &str| {
        let (name, rest) = input.split_once("\" value=\"").expect("a value");
        let (value, _) = rest.split_once('"').expect("its end");
        let value = value.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
        (name.to_owned(), value)
    };
    inputs.map(member).collect()
}

#[tokio::test]
async fn each_dialect_has_a_login_from_authorize_to_tokens() {
    for dialect in Dialect::ALL {
        // Apple's client secrets and scopes have tests of their own.
        if dialect == Dialect::Apple {
            continue;
        }
        let mock = speaking(dialect).await;
        let response = mock.code("alice", &[]).await;
        let request = |form: &[Pair<'_>]| {
            let mut whole: BTreeMap<_, _> = grant(&response["code"]).into_iter().collect();
            whole.extend([("client_id", CLIENT.0), ("client_secret", CLIENT.1)]);
            whole.extend(form.iter().copied());
            mock.http.post(&mock.idp.urls().token).header("accept", "application/json").form(&whole)
        };
        let tokens = mock.json(request(&[("code_verifier", VERIFIER)])).await;
        assert!(tokens["access_token"].is_string(), "{dialect}");
        assert_eq!(tokens["id_token"].is_string(), dialect != Dialect::Github, "{dialect}");

        let again = request(&[("code_verifier", VERIFIER)]).send().await.unwrap();
        let again: Value = again.json().await.unwrap();
        assert!(again["error"].is_string() && again["access_token"].is_null(), "{dialect}");
        assert_eq!(mock.idp.control().stats().second_uses, 1, "{dialect}");
    }
}

#[tokio::test]
async fn each_discovery_document_leads_to_its_endpoints() {
    for dialect in Dialect::ALL {
        let mock = speaking(dialect).await;
        let urls = mock.idp.urls();
        if dialect == Dialect::Github {
            assert_eq!((&urls.discovery, &urls.jwks), (&None, &None));
            continue;
        }
        let document = mock.discovered().await;
        assert_eq!(document["issuer"], mock.idp.issuer(), "{dialect}");
        let issuer = mock.idp.issuer().trim_end_matches('/');
        let well_known = format!("{issuer}/.well-known/openid-configuration");
        assert_eq!(urls.discovery.as_ref(), Some(&well_known), "{dialect}");
        assert_eq!(document["authorization_endpoint"], *urls.authorize);
        assert_eq!(document["token_endpoint"], *urls.token);
        assert_eq!(document.get("userinfo_endpoint").is_some(), urls.userinfo.is_some());
        let keys = mock.json(mock.http.get(text(&document["jwks_uri"]))).await;
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{dialect}");
    }
}

#[test]
fn a_dialect_is_known_by_its_name() {
    for dialect in Dialect::ALL {
        assert_eq!(dialect.name().parse(), Ok(dialect));
    }
    let problem = "Google".parse::<Dialect>().unwrap_err().to_string();
    assert!(problem.contains("plain, google, github"), "{problem}");
}
