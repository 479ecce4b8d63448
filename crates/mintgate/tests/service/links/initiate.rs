//! Logins that a provider's portal asks for.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use url::Url;

use super::{APP, options, service};
use crate::common::browser::{Browser, location, navigating};
use crate::common::session::cookies;
use crate::common::{Options, Store, TestService};
use crate::on_both_stores;

const INITIATE: &str = "/api/v1/auth/initiate/corp";

fn query(parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("{INITIATE}?{}", query.finish())
}

fn asked(url: &str) -> BTreeMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

on_both_stores! {
    async fn a_portal_begins_a_fresh_login_that_ends_at_the_page_it_names(store: Store) {
        let provider = "login_params = [\"loginHint\"]";
        let service = TestService::start_with(store, Options { provider, ..options() }).await;
        let issuer = service.idp().issuer().to_owned();
        let mut browser = Browser::new(&service);
        let page = format!("{APP}/inbox#1");
        let parameters =
            [("iss", issuer.as_str()), ("login_hint", "ada lovelace"), ("target_link_uri", &page), ("more", "x")];
        let answer = browser.goes_to(&query(&parameters)).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let url = location(&answer);
        assert_eq!(asked(&url)["login_hint"], "ada lovelace");
        let url = url.replace("login_hint", "former_hint");
        let callback = service.sent_back(&url, "alice").await;
        let answer = browser.goes_to(&callback).await;
        assert_eq!(location(&answer), format!("{APP}/inbox?mintgate_result=signed_in#1"));

        // By a form of the portal's page, and without a page of its own.
        let form = navigating(service.client.post(service.url(INITIATE))).form(&[("iss", &issuer)]);
        let form = form.header("origin", "https://portal.test").header("sec-fetch-site", "cross-site");
        let url = location(&browser.send(form).await);
        let callback = service.sent_back(&url, "bob").await;
        let answer = browser.goes_to(&callback).await;
        assert_eq!(location(&answer), format!("{APP}/?mintgate_result=signed_in"));
    }
}

#[tokio::test]
async fn nothing_that_a_portal_says_is_taken_on_trust() {
    let service = service(Store::Sqlite).await;
    let issuer = service.idp().issuer().to_owned();
    let slash = format!("{issuer}/");
    let upper = issuer.to_uppercase();
    let (bad, twice) = (StatusCode::BAD_REQUEST, format!("{}&iss=x", query(&[("iss", &issuer)])));
    for (path, code) in [
        (INITIATE.to_owned(), "INVALID_REQUEST"),
        (query(&[("iss", "")]), "INVALID_REQUEST"),
        (query(&[("iss", "https://evil.test")]), "INVALID_REQUEST"),
        (query(&[("iss", &slash)]), "INVALID_REQUEST"),
        (query(&[("iss", &upper)]), "INVALID_REQUEST"),
        (twice, "INVALID_REQUEST"),
        (query(&[("iss", &issuer)]).replace("corp", "other"), "UNKNOWN_PROVIDER"),
        (query(&[("iss", &issuer), ("target_link_uri", "//evil.test")]), "RETURN_TO_NOT_ALLOWED"),
        (query(&[("iss", &issuer), ("target_link_uri", "javascript:x")]), "RETURN_TO_NOT_ALLOWED"),
        (
            query(&[("iss", &issuer), ("target_link_uri", "https://app.example.com@evil.test")]),
            "RETURN_TO_NOT_ALLOWED",
        ),
    ] {
        service.refused(service.client.get(service.url(&path)), bad, code).await;
    }
    let framed = service.client.get(service.url(&query(&[("iss", &issuer)])));
    service.refused(framed.header("sec-fetch-dest", "iframe"), bad, "INVALID_REQUEST").await;
    assert_eq!(service.idp().control().stats().discovery, 0, "nothing was sent out");
    // A hint that the configuration does not let through goes nowhere.
    let answer =
        Browser::new(&service).goes_to(&query(&[("iss", &issuer), ("login_hint", "x")])).await;
    assert!(!asked(&location(&answer)).contains_key("login_hint"));
    assert_eq!(cookies(&answer).len(), 1);
}
