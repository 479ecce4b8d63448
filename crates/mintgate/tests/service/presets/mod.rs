//! Every preset, over HTTP from the authorization request to cookies and claims, against a provider
//! that speaks its dialect; and how each characteristically fails.

mod entra;
mod oauth2;
mod openid;
mod signed;

use std::collections::BTreeMap;

use crate::common::login::AuthorizationResponse;
use crate::common::session::cookies;
use crate::common::{Options, REDIRECT_URI, Store, TestService, assert_error, claims, log};
use mintgate_mock_idp::{Dialect, MockConfig, MockIdp};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

/// The client secret that mocks know.
const SECRET: &str = "client_secret = \"mintgate-dev-secret\"";

/// A service with one provider of the dialect, `p`, beside its usual one.
struct Place {
    idp: MockIdp,
    service: TestService,
}

/// Role rules for the claims of a test, as TOML lines of one rule each.
fn rule(claim: &str, condition: &str) -> String {
    format!(
        "[[roles.rules]]\nprovider = \"p\"\nclaim = \"{claim}\"\n{condition}\ngrant = [\"lead\"]\n"
    )
}

/// In `lines` the provider's table, in `rules` more of the file; `ISSUER` and `ORIGIN` stand for the
/// mock's.
async fn place(mut mock: MockConfig, lines: &str, rules: &str) -> Place {
    for client in &mut mock.clients {
        client.redirect_uris.push(REDIRECT_URI.to_owned());
    }
    let idp = MockIdp::start(mock).await.expect("the provider starts");
    let filled = lines
        .replace("ISSUER", idp.issuer())
        .replace("ORIGIN", &format!("http://{}", idp.address()));
    let more = format!(
        "[tokens.extra_claims]\nmail = \"email\"\nwho = \"name\"\n{rules}\n[[providers]]\nid = \"p\"\n\
         client_id = \"mintgate\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n{filled}\n"
    );
    log::keep();
    let service = TestService::start_with(Store::Sqlite, Options { more, ..Options::default() });
    Place { idp, service: service.await }
}

fn speaking(dialect: Dialect) -> MockConfig {
    MockConfig { dialect, ..MockConfig::default() }
}

impl Place {
    /// Goes to the provider as this person; what the browser brings back, by redirect or by form.
    async fn answer(&self, url: &str, user: &str) -> AuthorizationResponse {
        let mut url = Url::parse(url).unwrap();
        url.query_pairs_mut().append_pair("prompt", "none").append_pair("login_hint", user);
        let answer = self.service.client.get(url).send().await.unwrap();
        if let Some(location) = answer.headers().get("location") {
            let location = Url::parse(location.to_str().unwrap()).unwrap();
            return location.query_pairs().into_owned().collect();
        }
        let page = answer.text().await.unwrap();
        let inputs = page.split("<input type=\"hidden\" name=\"").skip(1);
        let member = |input: &str| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            let value = rest.split_once('"').unwrap().0;
            (name.to_owned(), value.replace("&quot;", "\"").replace("&amp;", "&"))
        };
        let members: BTreeMap<_, _> = inputs.map(member).collect();
        assert!(members.contains_key("code"), "{page}");
        members
    }

    /// A whole login as a page does it; the answer of `/token`.
    async fn log_in(&self, user: &str) -> Response {
        let begun = self.service.begin_login("p").await;
        let response = self.answer(&begun.authorization_url, user).await;
        self.service.finish(&response, begun.cookie()).send().await.unwrap()
    }

    /// A login that succeeds: three cookies, and what the access token says.
    async fn claims_of(&self, user: &str) -> Value {
        let answer = self.log_in(user).await;
        let set = cookies(&answer);
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        let names: Vec<_> = set.iter().map(|one| one.split('=').next().unwrap()).collect();
        assert_eq!(names[..2], ["Auth-Access-Token", "Auth-Refresh-Token"]);
        assert!(set[0].contains("HttpOnly; Secure; SameSite=Lax"), "{}", set[0]);
        let body: Value = serde_json::from_str(&text).unwrap();
        let said = claims(body["accessToken"].as_str().unwrap());
        assert_eq!(said["idp"], "p");
        said
    }

    /// A login that fails with this error, leaving nothing; what the log says is the reason.
    async fn refusal(&self, user: &str, status: StatusCode, code: &str) -> String {
        let before = self.service.dump().await;
        let answer = self.log_in(user).await;
        let body = assert_error(answer, status, code).await;
        assert_eq!(self.service.dump().await, before, "nothing is stored");
        reason(&body)
    }

    /// As [`refusal`](Self::refusal), of the beginning of a login.
    async fn refusal_to_begin(&self, status: StatusCode, code: &str) -> String {
        let request = self.service.login_request(&json!({ "provider": "p" }));
        reason(&self.service.refused(request, status, code).await)
    }

    /// The identities of the user, as (issuer, subject).
    async fn identity(&self, said: &Value) -> String {
        let dump = self.service.dump().await;
        let rows = dump.rows("external_identities");
        assert_eq!(rows.len(), 1, "{said}: {rows:?}");
        rows[0].clone()
    }
}

/// What the log says of a refused request.
fn reason(body: &Value) -> String {
    let line = log::line(body["requestId"].as_str().unwrap());
    line["reason"].as_str().unwrap_or_default().to_owned()
}
