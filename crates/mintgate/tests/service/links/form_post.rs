//! Providers that answer by a form of their own page (Apple): the login's cookie does not come with it.

use std::collections::BTreeMap;

use mintgate_mock_idp::MockConfig;
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;

use super::{APP, options};
use crate::common::browser::{Browser, location, navigating};
use crate::common::session::cookies;
use crate::common::{Options, Store, TestService};
use crate::on_both_stores;

const CALLBACK: &str = "/api/v1/auth/callback/corp";

async fn service(store: Store) -> TestService {
    let mock = MockConfig { dialect: mintgate_mock_idp::Dialect::Keycloak, ..options().mock };
    let provider = "authorization_params = [\"response_mode=form_post\"]";
    TestService::start_with(store, Options { provider, mock, ..options() }).await
}

/// The fields of a form in a page.
fn fields(page: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split_once(&format!("{name}=\"")).unwrap().1;
        let value = rest.split('"').next().unwrap();
        let value = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
        value.replace("&#39;", "'").replace("&#13;", "\r").replace("&amp;", "&")
    };
    let inputs = page.split("<input type=\"hidden\"").skip(1);
    let inputs = inputs.map(|rest| rest.split('>').next().unwrap());
    inputs.map(|tag| (attribute(tag, "name"), attribute(tag, "value"))).collect()
}

impl TestService {
    /// What the provider's page posts after a login that this browser begins.
    async fn form_for(&self, browser: &mut Browser<'_>, query: &str) -> Vec<(String, String)> {
        let url = browser.starts(query).await;
        let url = format!("{url}&prompt=none&login_hint=alice");
        fields(&self.client.get(url).send().await.unwrap().text().await.unwrap())
    }

    /// A form that another site posts: without the cookies that are `Lax`.
    fn posted_from_elsewhere(&self, fields: &[(String, String)]) -> RequestBuilder {
        let request = navigating(self.client.post(self.url(CALLBACK))).form(fields);
        request.header("origin", "https://idp.test").header("sec-fetch-site", "cross-site")
    }

    /// The form that our own page posts.
    fn posted_again(&self, fields: &[(String, String)]) -> RequestBuilder {
        let url = self.url(&format!("{CALLBACK}?again=1"));
        let request = navigating(self.client.post(url)).form(fields);
        request.header("origin", "http://localhost:8080").header("sec-fetch-site", "same-origin")
    }
}

on_both_stores! {
    async fn a_posted_response_is_posted_once_more_by_our_own_page_and_ends_the_login(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        let mut form = service.form_for(&mut browser, "?returnTo=/a").await;
        let user = "{\"name\":\"<Ada> & 'Co' \u{e9}\\r\\n\"}\r\n".repeat(350);
        form.push(("user".to_owned(), user));
        form.push(("\"><script>".to_owned(), "</form>".to_owned()));
        let answer = service.posted_from_elsewhere(&form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(cookies(&answer), Vec::<String>::new());
        let headers = answer.headers();
        assert_eq!((&headers["cache-control"], &headers["referrer-policy"]), (
            &"no-store".parse().unwrap(), &"no-referrer".parse().unwrap(),
        ));
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'self';") && policy.contains("default-src 'none'"));
        // Browsers hold the redirect after the form to this too.
        assert!(policy.ends_with(&format!("form-action 'self' {APP}")), "{policy}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("<form method=\"post\" action=\"?again=1\">") && page.contains("<button>"));
        assert_eq!(page.matches("<script").count(), 1, "the one with an address");
        assert_eq!(fields(&page), form, "the same fields");
        assert_eq!(service.idp().control().stats().token, 0, "the code was not sent on");

        let again = browser.with_cookies(service.posted_again(&fields(&page)));
        let answer = browser.send(again).await;
        assert_eq!(location(&answer), format!("{APP}/a?mintgate_result=signed_in"));
        assert_eq!(service.sessions().await, 1);
    }
}

#[tokio::test]
async fn a_form_that_comes_without_the_cookie_once_more_is_an_error_and_not_another_round() {
    let service = service(Store::Sqlite).await;
    let form = service.form_for(&mut Browser::new(&service), "").await;
    let answer = service.posted_again(&form).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let page = answer.text().await.unwrap();
    assert!(page.contains("INVALID_STATE") && !page.contains("<form"), "{page}");
    // Neither is one that is not of a login begun here.
    let stray: BTreeMap<_, _> = [("code", "x"), ("state", "af0ifjsldkj")].into();
    let request = navigating(service.client.post(service.url(CALLBACK))).form(&stray);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(service.idp().control().stats().token, 0, "no code was sent anywhere");
}

#[tokio::test]
async fn a_form_with_the_cookie_needs_no_second_step_and_is_of_one_type_and_size() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    let form = service.form_for(&mut browser, "").await;
    let large = [form.clone(), vec![("user".to_owned(), "u".repeat(33_000))]].concat();
    let request = browser.with_cookies(service.posted_from_elsewhere(&large));
    assert_eq!(browser.send(request).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let json = navigating(service.client.post(service.url(CALLBACK))).json(&"x");
    assert_eq!(json.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let request = browser.with_cookies(service.posted_from_elsewhere(&form));
    let answer = browser.send(request).await;
    assert_eq!(location(&answer), format!("{APP}/?mintgate_result=signed_in"));
}

#[tokio::test]
async fn the_script_of_the_page_has_an_address_of_its_own() {
    let service = service(Store::Sqlite).await;
    let url = service.url("/api/v1/auth/pages/post-again.js");
    let answer = service.client.get(url).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/javascript; charset=utf-8");
    assert!(answer.text().await.unwrap().contains("submit()"));
}
