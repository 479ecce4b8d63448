//! A browser that follows links: it keeps cookies, and says that it navigates.

use std::collections::BTreeMap;

use mintgate_testkit::http::RequestBuilder;
use reqwest::{Response, StatusCode};
use url::Url;

use super::TestService;
use super::session::cookies;

/// A browser, with its cookies by name.
pub(crate) struct Browser<'a> {
    service: &'a TestService,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(service: &'a TestService) -> Self {
        Self { service, cookies: BTreeMap::new() }
    }

    /// Another one with the same cookies.
    pub(crate) fn copy(&self) -> Self {
        Self { service: self.service, cookies: self.cookies.clone() }
    }

    /// As a navigation has them, without the refresh cookie, whose path is another.
    pub(crate) fn with_cookies(&self, request: RequestBuilder) -> RequestBuilder {
        let sent = self.cookies.iter().filter(|(name, _)| !name.contains("Refresh"));
        let sent: Vec<_> = sent.map(|(name, value)| format!("{name}={value}")).collect();
        if sent.is_empty() { request } else { request.header("cookie", sent.join("; ")) }
    }

    /// The navigation of a tab to a path of the service.
    pub(crate) fn navigation(&self, path: &str) -> RequestBuilder {
        let request = self.service.client.get(self.service.url(path));
        self.with_cookies(navigating(request))
    }

    /// Sends a request, and keeps the cookies of the answer.
    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Response {
        let answer = request.send().await.unwrap();
        for cookie in cookies(&answer) {
            let (name, rest) = cookie.split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                let value = rest.split(';').next().unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) async fn goes_to(&mut self, path: &str) -> Response {
        let request = self.navigation(path);
        self.send(request).await
    }

    /// Begins a login by the link with this query; where the browser goes.
    pub(crate) async fn starts(&mut self, query: &str) -> String {
        let answer = self.goes_to(&start(query)).await;
        let status = answer.status();
        assert_eq!(status, StatusCode::SEE_OTHER, "{}", answer.text().await.unwrap());
        location(&answer)
    }

    /// The same, and signs in at the provider; the path of the callback, with the response.
    pub(crate) async fn is_sent_back(&mut self, query: &str, user: &str) -> String {
        let url = self.starts(query).await;
        self.service.sent_back(&url, user).await
    }

    /// A whole login; where the browser is in the end.
    pub(crate) async fn signs_in(&mut self, query: &str, user: &str) -> String {
        let callback = self.is_sent_back(query, user).await;
        let answer = self.goes_to(&callback).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        location(&answer)
    }

    pub(crate) fn access(&self) -> &str {
        &self.cookies["Auth-Access-Token"]
    }
}

impl TestService {
    /// Goes to the provider as somebody who has a session there; the path to which it sends the browser.
    pub(crate) async fn sent_back(&self, url: &str, user: &str) -> String {
        let mut url = Url::parse(url).unwrap();
        url.query_pairs_mut().append_pair("prompt", "none").append_pair("login_hint", user);
        path_of(&location(&self.client.get(url).send().await.unwrap()))
    }
}

/// A request with the headers of a navigation.
pub(crate) fn navigating(request: RequestBuilder) -> RequestBuilder {
    request
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document")
        .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
}

/// The path of the link with this query.
pub(crate) fn start(query: &str) -> String {
    format!("/api/v1/auth/start/corp{query}")
}

/// The link's query for this page.
pub(crate) fn return_to(page: &str) -> String {
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("returnTo", page).finish();
    format!("?{}", query.replace('+', "%20"))
}

pub(crate) fn location(answer: &Response) -> String {
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// Path and query of an address.
pub(crate) fn path_of(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}
