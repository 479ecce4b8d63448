//! Logins that ask for something particular: a person, a page, an authentication.

use std::collections::BTreeMap;

use crate::common::session::cookies;
use crate::common::{Options, Store, TestService};
use crate::on_both_stores;
use mintgate_mock_idp::{Faults, IdTokenRecipe};
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

const ALL: &str = r#"login_params = ["loginHint", "prompt", "uiLocales", "acrValues", "maxAge"]"#;

impl TestService {
    /// A login with `request` besides, the cookie of which is returned; and its authorization URL.
    async fn begin_with(&self, mut request: Value) -> (Url, String) {
        request["provider"] = json!("corp");
        let answer = self.login_request(&request).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let cookie = cookies(&answer).pop().unwrap().split(';').next().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        (Url::parse(body["authorizationUrl"].as_str().unwrap()).unwrap(), cookie)
    }

    /// Has the next ID tokens carry these claims.
    fn claim(&self, claims: &Value) {
        let claims = claims.as_object().unwrap().clone();
        let id_token = Some(IdTokenRecipe { claims, ..IdTokenRecipe::default() });
        self.idp().control().set_faults(Faults { id_token, ..Faults::default() });
    }
}

on_both_stores! {
    async fn what_a_login_asked_of_the_authentication_decides_what_comes_back(store: Store) {
        let service =
            TestService::start_with(store, Options { provider: ALL, ..Options::default() }).await;
        let asked = json!({ "acrValues": "phr 1", "maxAge": 300 });
        for (claims, accepted) in [
            (json!({}), true),
            (json!({ "acr": "phr" }), true),
            (json!({ "acr": "0" }), false),
            (json!({ "acr": null }), false),
            (json!({ "auth_time": 1_000_000_000 }), false),
            (json!({ "auth_time": null }), false),
            (json!({ "auth_time": "2020-03-14T18:52:01.180Z" }), false),
        ] {
            let (url, cookie) = service.begin_with(asked.clone()).await;
            service.claim(&claims);
            let response = service.at_provider(url.as_str(), "alice").await;
            let request = service.finish(&response, &cookie);
            if accepted {
                assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "{claims}");
            } else {
                service.refused(request, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
            }
        }
        // A login that asked for nothing is held to nothing.
        service.claim(&json!({ "acr": null, "auth_time": null }));
        let (response, cookie) = service.response_for("alice").await;
        assert_eq!(service.finish(&response, &cookie).send().await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn each_parameter_becomes_that_of_the_standard() {
    let options = Options { provider: ALL, ..Options::default() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let (url, _) = service
        .begin_with(json!({
            "loginHint": "Zoë & co <ada@example.com>", "prompt": "login consent",
            "uiLocales": "fr-CA fr", "acrValues": "phr", "maxAge": 0,
        }))
        .await;
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("login_hint", "Zoë & co <ada@example.com>"),
        ("prompt", "login consent"),
        ("ui_locales", "fr-CA fr"),
        ("acr_values", "phr"),
        ("max_age", "0"),
    ] {
        assert_eq!(query[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_not_listed_is_refused_by_name() {
    let options = Options { provider: r#"login_params = ["prompt"]"#, ..Options::default() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    for (field, value) in [
        ("loginHint", json!("ada")),
        ("uiLocales", json!("de")),
        ("domainHint", json!("example.com")),
        ("acrValues", json!("1")),
        ("maxAge", json!(1)),
        ("prompt", json!("a,b")),
        ("prompt", json!("login none")),
        ("maxAge", json!("1")),
    ] {
        let request = service.login_request(&json!({ "provider": "corp", field: value }));
        let body = service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_eq!(body["details"][0]["field"], field);
    }
    assert_eq!(service.idp().control().stats().discovery, 0, "nothing was sent out");
}
