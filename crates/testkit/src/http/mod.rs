//! An HTTP client whose every answer is held to the OpenAPI documents of the service.

mod documents;

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::{Body, IntoUrl, Method, Response, ResponseBuilderExt as _, Result};
use serde::Serialize;

/// A client. An answer of the service that its documents do not have fails the test that asked.
#[derive(Debug, Clone, Default)]
pub struct Client(reqwest::Client);

impl From<reqwest::Client> for Client {
    fn from(client: reqwest::Client) -> Self {
        Self(client)
    }
}

impl Client {
    /// Makes a client with the usual settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder { client: self.0.clone(), request: self.0.request(method, url) }
    }

    /// Begins a GET.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Begins a HEAD.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// Begins a POST.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Begins a PUT.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Begins a DELETE.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }
}

/// A request that is not sent yet.
#[derive(Debug)]
#[must_use = "does nothing until it is sent"]
pub struct RequestBuilder {
    client: reqwest::Client,
    request: reqwest::RequestBuilder,
}

impl RequestBuilder {
    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { request: change(self.request), client: self.client }
    }

    /// The same request once more; `None` if its body can be read but once.
    pub fn try_clone(&self) -> Option<Self> {
        Some(Self { client: self.client.clone(), request: self.request.try_clone()? })
    }

    /// Adds a header.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        <HeaderName as TryFrom<N>>::Error: Into<http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.with(|request| request.header(name, value))
    }

    /// Sends this as JSON.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.with(|request| request.json(body))
    }

    /// Sends this as a form.
    pub fn form(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.with(|request| request.form(body))
    }

    /// Sends this.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.with(|request| request.body(body))
    }

    /// Authenticates by a bearer token.
    pub fn bearer_auth(self, token: impl std::fmt::Display) -> Self {
        self.with(|request| request.bearer_auth(token))
    }

    /// Authenticates by HTTP Basic.
    pub fn basic_auth(
        self,
        name: impl std::fmt::Display,
        password: Option<impl std::fmt::Display>,
    ) -> Self {
        self.with(|request| request.basic_auth(name, password))
    }

    /// Waits no longer than this for the whole answer.
    pub fn timeout(self, limit: Duration) -> Self {
        self.with(|request| request.timeout(limit))
    }

    /// Sends the request, and reads the whole answer.
    ///
    /// # Errors
    /// If there is no whole answer.
    ///
    /// # Panics
    /// If the answer is not one that the documents have.
    pub async fn send(self) -> Result<Response> {
        let request = self.request.build()?;
        let (method, url) = (request.method().clone(), request.url().clone());
        let is_preflight = request.headers().contains_key("access-control-request-method");
        let answer = self.client.execute(request).await?;
        let (status, version, headers) =
            (answer.status(), answer.version(), answer.headers().clone());
        let body = answer.bytes().await?;
        let seen = documents::Seen {
            method: &method,
            path: url.path(),
            is_preflight,
            status,
            headers: &headers,
            body: &body,
        };
        if let Err(problem) = seen.check() {
            let text = String::from_utf8_lossy(&body);
            panic!(
                "{method} {}: the answer {status} is not documented: {problem}\n{text}",
                url.path()
            );
        }
        let mut whole = http::Response::builder().status(status).version(version).url(url);
        if let Some(all) = whole.headers_mut() {
            *all = headers;
        }
        let whole = whole.body(body).unwrap_or_default();
        Ok(whole.into())
    }
}
