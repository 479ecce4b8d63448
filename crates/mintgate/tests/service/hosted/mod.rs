//! The hosted pages, `/login` and `/account`, as browsers without a script use them.

mod account;
mod actions;
mod linking;
mod login;
mod looks;

use mintgate_testkit::http::RequestBuilder;
use reqwest::Response;

use crate::common::browser::{Browser, navigating};
use crate::common::{Options, Store, TestService};
use crate::links;

/// The origin of the pages.
const OWN: &str = "http://localhost:8080";

fn options() -> Options {
    let links = links::options();
    let more = format!(
        "{}hosted = true\nname = \"Example <Co>\"\n[users]\nprofile = [\"name\", \"email\"]\n",
        links.more
    );
    Options { more, provider: "display_name = \"<b>Corp & \\\"Co\\\"\"", ..links }
}

async fn service(store: Store) -> TestService {
    TestService::start_with(store, options()).await
}

/// A form that is posted to a path by a page of this origin, or by no browser.
fn form(
    service: &TestService,
    browser: &Browser<'_>,
    path: &str,
    id: &str,
    origin: Option<&str>,
) -> RequestBuilder {
    let request = navigating(service.client.post(service.url(path))).form(&[("id", id)]);
    let request = match origin {
        Some(origin) => request.header("origin", origin),
        None => request,
    };
    browser.with_cookies(request)
}

/// Presses a button of the account page.
async fn press(service: &TestService, browser: &mut Browser<'_>, path: &str, id: &str) -> Response {
    let request = form(service, browser, path, id, Some(OWN));
    browser.send(request.header("sec-fetch-site", "same-origin")).await
}

/// The text of the account page.
async fn account(browser: &mut Browser<'_>) -> String {
    let answer = browser.goes_to("/account").await;
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// The values of the hidden fields of the forms that are posted to a path.
fn ids(page: &str, path: &str) -> Vec<String> {
    let forms = page
        .split("<form ")
        .skip(1)
        .filter(|form| form.starts_with(&format!("method=\"post\" action=\"{path}\">")));
    forms
        .map(|form| form.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
        .collect()
}
