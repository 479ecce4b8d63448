//! The HTTP client: rustls, HTTP/1.1, no redirects, no proxy.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::fetch::{Fetch, FetchError, Fetching, MAX_DOCUMENT};

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// Fetches documents over HTTP/1.1, with rustls. It trusts the certificates of the system, or those that the
/// environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name. It uses no proxy.
#[derive(Clone)]
pub struct HttpFetch {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpFetch {
    /// A client with no connection yet.
    ///
    /// # Errors
    /// rustls refuses its own default protocol versions; this does not happen.
    pub fn new() -> Result<Self, FetchError> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "certificates of the system could not be read");
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        let provider = rustls::crypto::ring::default_provider().into();
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| FetchError::new(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client })
    }

    /// Sends a request; returns the head of the response and its body, which is still to be read.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, &str)],
        body: String,
    ) -> Result<Response<Incoming>, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::new("the URL is invalid"))?;
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| FetchError::new("the request is invalid"))?;
        self.client.request(request).await.map_err(|error| FetchError::new(chain(&error)))
    }

    /// Reads a body of at most `limit` bytes.
    pub(crate) async fn read(
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Bytes, FetchError> {
        let body = Limited::new(response.into_body(), limit).collect().await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|error| FetchError::new(format!("the body could not be read: {error}")))
    }
}

impl Fetch for HttpFetch {
    fn get<'a>(&'a self, url: &'a str) -> Fetching<'a> {
        Box::pin(async move {
            let accept = [("accept", "application/json")];
            let response = self.send(Method::GET, url, &accept, String::new()).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::new(format!("{url} answers {}", response.status())));
            }
            Ok(Self::read(response, MAX_DOCUMENT).await?.to_vec())
        })
    }
}

/// The error and its causes, as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
