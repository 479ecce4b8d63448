//! An HTTP client that keeps every answer whole, and the time it took.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mintgate_testkit::http::{Client, RequestBuilder};
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::time::Instant;

/// A client that follows no redirects, keeps no cookies and waits at most 20 s. An answer of the service
/// that its OpenAPI documents do not have is a panic.
pub(crate) fn client() -> Result<Client> {
    Ok(plain_client()?.into())
}

/// The same without a look into the documents, for measurements.
pub(crate) fn plain_client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // Less than servers keep idle connections for: a request must not meet the end of its connection.
        .pool_idle_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(20))
        .build()?)
}

/// An HTTP answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

/// Sends a request and takes the whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer> {
    let started = Instant::now();
    read(request.send().await?, started).await
}

/// The same for a request of [`plain_client`].
pub(crate) async fn send_plain(request: reqwest::RequestBuilder) -> Result<Answer> {
    let started = Instant::now();
    read(request.send().await?, started).await
}

async fn read(response: reqwest::Response, started: Instant) -> Result<Answer> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await?;
    Ok(Answer { status, headers, body, took: started.elapsed() })
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body)
            .with_context(|| format!("expected JSON, got {}", self.body))
    }

    pub(crate) fn expect_status(&self, expected: u16) -> Result<()> {
        if self.status != expected {
            bail!("expected status {expected}, got {} with {}", self.status, self.body);
        }
        Ok(())
    }

    pub(crate) fn expect_header(&self, name: &str, expected: &str) -> Result<()> {
        expect(&format!("header {name}"), &self.header(name), &Some(expected))
    }
}

/// Fails, naming both values, unless they are equal.
pub(crate) fn expect<T: PartialEq + Debug>(what: &str, got: &T, expected: &T) -> Result<()> {
    if got != expected {
        bail!("{what}: expected {expected:?}, got {got:?}");
    }
    Ok(())
}

/// The names of an object's members, sorted.
pub(crate) fn keys(json: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        json.as_object().map(|it| it.keys().map(String::as_str).collect()).unwrap_or_default();
    // The order of the map depends on which of serde_json's features others turn on.
    keys.sort_unstable();
    keys
}
