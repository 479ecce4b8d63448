//! The HTTP client of one provider. Every request is bounded in time and length and is sent once: the
//! client follows no redirect, retries nothing, and connects to permitted addresses only, or to a proxy that
//! the operator configured.

use std::error::Error;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use mintgate_domain::Cause;
use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{Clock, Metrics, Misbehaviour, ProviderEndpoint, ProviderError};
use oauth2::{HttpRequest, HttpResponse};
use openssl::error::ErrorStack;
use reqwest::StatusCode;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue,
};
use tracing::Instrument as _;
use tracing::field::Empty;
use url::Url;

use crate::address::{AddressPolicy, AddressRefused, PolicedResolver};
use crate::lookups::Lookups;
use crate::network::Network;
use crate::proxy::{Proxies, ProxyUrl};
use mintgate_domain::excerpt;

/// The longest answer that is read, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;

/// How long an idle connection is kept. Shorter than servers keep theirs (5 s is the default of Apache
/// and Node.js): a request sent on a connection that is being closed has an unknown outcome, and a code
/// must not be sent twice.
const KEEP_IDLE: Duration = Duration::from_secs(4);
/// The most idle connections that are kept open for one host.
const MAX_IDLE: usize = 32;

/// Why a request brought no usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    AddressRefused(#[from] AddressRefused),
    #[error("it answers a redirect (status {0}), which is not followed")]
    Redirect(u16),
    #[error("its answer is longer than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer cannot be used")]
    Malformed(#[source] Cause),
    #[error("the connection failed before the answer was complete")]
    Broken(#[source] TransportError),
    #[error("no connection")]
    Unreachable(#[source] TransportError),
    #[error("no TLS connection")]
    Untrusted(#[source] TransportError),
    #[error("no connection by way of the proxy {0}")]
    NotByProxy(ProxyUrl, #[source] TransportError),
    #[error("no complete answer in time")]
    TimedOut,
}

/// The innermost cause of a failed request, as an excerpt: the outer ones say only that a request
/// failed, and one of them repeats the URL.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TransportError(pub(crate) String);

impl HttpError {
    /// An answer that cannot be used, with the reason.
    pub(crate) fn malformed(reason: impl Into<Cause>) -> Self {
        Self::Malformed(reason.into())
    }

    /// The value of the label `outcome` in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::AddressRefused(_) => "blocked",
            Self::Redirect(_) => "redirect",
            Self::TooLarge => "too_large",
            Self::Status(_) | Self::Broken(_) => "http_error",
            Self::Malformed(_) => "malformed",
            Self::Unreachable(_) | Self::Untrusted(_) | Self::NotByProxy(..) => "unreachable",
            Self::TimedOut => "timeout",
        }
    }

    /// The error of the port for a request to an endpoint.
    pub(crate) fn at(self, endpoint: ProviderEndpoint) -> ProviderError {
        self.at_endpoint_named(name(endpoint))
    }

    /// The error of the port for a request to an endpoint that has no name in metrics.
    pub(crate) fn at_endpoint_named(self, name: &'static str) -> ProviderError {
        let misbehaviour = match &self {
            Self::Unreachable(_) | Self::Untrusted(_) | Self::NotByProxy(..) => {
                return ProviderError::Unreachable(Cause::from_error(name, self));
            }
            Self::TimedOut => return ProviderError::TimedOut(Cause::from_error(name, self)),
            Self::Broken(_) | Self::Status(500..) => Misbehaviour::Outage,
            Self::AddressRefused(_)
            | Self::Redirect(_)
            | Self::TooLarge
            | Self::Malformed(_)
            | Self::Status(_) => Misbehaviour::BadAnswer,
        };
        ProviderError::Misbehaved(misbehaviour, Cause::from_error(name, self))
    }
}

fn name(endpoint: ProviderEndpoint) -> &'static str {
    match endpoint {
        ProviderEndpoint::Discovery => "discovery document",
        ProviderEndpoint::Jwks => "JWKS",
        ProviderEndpoint::Token => "token endpoint",
        ProviderEndpoint::Userinfo => "userinfo endpoint",
    }
}

/// The HTTP client of one provider.
pub(crate) struct BoundedClient {
    direct: reqwest::Client,
    /// Sends the requests that go through a proxy; `None` if none do.
    by_proxy: Option<reqwest::Client>,
    proxies: Proxies,
    policy: Arc<AddressPolicy>,
    provider: ProviderId,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
}

impl BoundedClient {
    /// Sets the client up without connecting.
    pub(crate) fn new(
        provider: ProviderId,
        policy: AddressPolicy,
        network: &Network,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, reqwest::Error> {
        // Without this header a server may compress its answers as it likes (RFC 9110 §12.5.3).
        let identity = HeaderValue::from_static("identity");
        // `never` switches off reqwest's own retries. Its connection pool sends a request again only if
        // the connection died before the first byte was written.
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("mintgate/", env!("CARGO_PKG_VERSION")))
                .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, identity.clone())]))
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .tls_version_min(reqwest::tls::Version::TLS_1_2)
                .tls_info(true)
                .tls_certs_merge(network.authorities.for_client())
                .pool_idle_timeout(KEEP_IDLE)
                .pool_max_idle_per_host(MAX_IDLE)
                .connect_timeout(network.connect_timeout)
                .timeout(network.timeout)
        };
        let policy = Arc::new(policy);
        let lookups = Lookups::default();
        let resolver = PolicedResolver { policy: Arc::clone(&policy), lookups: lookups.clone() };
        let direct = builder().dns_resolver(resolver).build()?;
        // Of names, this client looks up the proxy's alone; the proxy looks up the provider's.
        let by_proxy = network.proxies.for_client()?.map(|proxies| {
            let builder = builder().dns_resolver(lookups);
            proxies.into_iter().fold(builder, reqwest::ClientBuilder::proxy).build()
        });
        let (by_proxy, proxies) = (by_proxy.transpose()?, network.proxies.clone());
        Ok(Self { direct, by_proxy, proxies, policy, provider, clock, metrics })
    }

    /// Checks a URL that a request, or a browser, will be sent to later.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), HttpError> {
        Ok(self.policy.check_url(url)?)
    }

    /// Sends one request, once, and reads the whole answer, whatever its status.
    ///
    /// The span has the names of the OpenTelemetry conventions for HTTP clients, and nothing of the
    /// path, the query, the headers or the body.
    pub(crate) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut request =
            reqwest::Request::try_from(request).map_err(|error| classify(error, None))?;
        if let Some(internal) = self.policy.internal(request.url()) {
            *request.url_mut() = internal;
        }
        let span = tracing::debug_span!(
            "http_client_request",
            otel.name = %request.method(),
            otel.kind = "client",
            http.request.method = %request.method(),
            server.address = request.url().host_str(),
            server.port = request.url().port_or_known_default(),
            http.response.status_code = Empty,
            "error.type" = Empty,
        );
        let result = self.send_bounded(request).instrument(span.clone()).await;
        match &result {
            Ok(answer) => span.record("http.response.status_code", answer.status().as_u16()),
            Err(error) => span.record("error.type", error.outcome()),
        };
        result
    }

    async fn send_bounded(&self, request: reqwest::Request) -> Result<HttpResponse, HttpError> {
        let (mut answer, proxy) = self.execute(request).await?;
        if answer.status().is_redirection() {
            return Err(HttpError::Redirect(answer.status().as_u16()));
        }
        let body = read_body(&mut answer, proxy).await?;
        let mut response = HttpResponse::new(decoded(answer.headers(), body)?);
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }

    /// Sends one request, once; the answer, and the proxy that it came through.
    async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<(reqwest::Response, Option<&ProxyUrl>), HttpError> {
        let url = request.url();
        self.check_url(url)?;
        let (client, proxy) = match (&self.by_proxy, self.proxies.proxy_for(url)) {
            (Some(by_proxy), Some(proxy)) => {
                self.policy.check_proxied_url(url)?;
                (by_proxy, Some(proxy))
            }
            _ => (&self.direct, None),
        };
        let answer = client.execute(request).await.map_err(|error| classify(error, proxy))?;
        if let (Some(proxy), StatusCode::PROXY_AUTHENTICATION_REQUIRED) = (proxy, answer.status()) {
            let reason = "it wants other credentials, or some at all (status 407)".to_owned();
            return Err(HttpError::NotByProxy(proxy.clone(), TransportError(reason)));
        }
        Ok((answer, proxy))
    }

    /// Sends one request for an operator, once, and shows what came back; a redirect is an answer too.
    pub(crate) async fn look(&self, request: HttpRequest) -> Result<Look, HttpError> {
        let mut request =
            reqwest::Request::try_from(request).map_err(|error| classify(error, None))?;
        if let Some(internal) = self.policy.internal(request.url()) {
            *request.url_mut() = internal;
        }
        let (mut answer, proxy) = self.execute(request).await?;
        let tls = answer.extensions().get::<reqwest::tls::TlsInfo>();
        let certificate = tls.and_then(|tls| tls.peer_certificate()).map(<[u8]>::to_vec);
        let body = read_body(&mut answer, proxy).await?;
        Ok(Look {
            status: answer.status().as_u16(),
            body: decoded(answer.headers(), body)?,
            headers: std::mem::take(answer.headers_mut()),
            certificate,
        })
    }

    /// Sends a request for a document, whose media type does not matter: it is judged by its content.
    /// Any status but a successful one is an error.
    pub(crate) async fn fetch<T>(
        &self,
        endpoint: ProviderEndpoint,
        request: Result<HttpRequest, HttpError>,
        read: impl FnOnce(&[u8]) -> Result<T, Cause>,
    ) -> Result<T, HttpError> {
        let mut observed = self.observe(endpoint);
        let result = async {
            let answer = self.send(request?).await?;
            if !answer.status().is_success() {
                return Err(HttpError::Status(answer.status().as_u16()));
            }
            read(answer.body()).map_err(HttpError::Malformed)
        }
        .await;
        observed.outcome = result.as_ref().err().map_or("success", HttpError::outcome);
        result
    }

    /// Starts to measure a request to an endpoint.
    pub(crate) fn observe(&self, endpoint: ProviderEndpoint) -> Observation<'_> {
        Observation { client: self, endpoint, started: self.clock.monotonic(), outcome: "timeout" }
    }
}

/// What came back for an operator.
pub(crate) struct Look {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The server's certificate in DER; `None` without TLS.
    pub(crate) certificate: Option<Vec<u8>>,
}

async fn read_body(
    answer: &mut reqwest::Response,
    proxy: Option<&ProxyUrl>,
) -> Result<Vec<u8>, HttpError> {
    if answer.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(HttpError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| classify(error, proxy))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Measures a request and reports it to the metrics when it is dropped; as a timeout unless `outcome`
/// was set, because the caller has given up waiting.
pub(crate) struct Observation<'a> {
    client: &'a BoundedClient,
    endpoint: ProviderEndpoint,
    started: Duration,
    /// The value of the label `outcome` in metrics.
    pub(crate) outcome: &'static str,
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        let BoundedClient { clock, metrics, provider, .. } = self.client;
        let took = clock.monotonic().saturating_sub(self.started);
        metrics.provider_request(provider, self.endpoint, self.outcome, took);
    }
}

// No list has `*/*`: frameworks in the manner of Rails then take the caller for a browser.

/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";
/// The media types of a key set (RFC 7517 §8.5). Some servers answer 406 to a request for one alone.
pub(crate) const JWKS: &str = "application/json, application/jwk-set+json";
/// The media types of userinfo (OIDC Core §5.3.2).
pub(crate) const USERINFO: &str = "application/json, application/jwt";

/// A GET request for a document of these media types, with an access token if one is given.
pub(crate) fn get(
    url: &Url,
    accept: &'static str,
    bearer: Option<&str>,
) -> Result<HttpRequest, HttpError> {
    let mut request = http::Request::get(url.as_str())
        .body(Vec::new())
        .map_err(|_| HttpError::malformed("it names a URL that cannot be requested"))?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    if let Some(token) = bearer {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            HttpError::malformed("the access token has characters that no header can hold")
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// The content of a body. Some servers compress although they were asked not to, for example those of files
/// that are stored so.
fn decoded(headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, HttpError> {
    let coding = headers.get(CONTENT_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
    if !["gzip", "x-gzip"].iter().any(|gzip| coding.eq_ignore_ascii_case(gzip.as_bytes())) {
        return Ok(body);
    }
    let mut content = Vec::new();
    let limit = MAX_BODY_BYTES as u64 + 1;
    match GzDecoder::new(body.as_slice()).take(limit).read_to_end(&mut content) {
        Ok(_) if content.len() > MAX_BODY_BYTES => Err(HttpError::TooLarge),
        Ok(_) => Ok(content),
        Err(error) => {
            Err(HttpError::Malformed(Cause::from_error("it cannot be decompressed", error)))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn classify(error: reqwest::Error, proxy: Option<&ProxyUrl>) -> HttpError {
    if let Some(refused) = causes(&error).find_map(|cause| cause.downcast_ref::<AddressRefused>()) {
        HttpError::AddressRefused(refused.clone())
    } else if let (Some(proxy), true) = (proxy, error.is_connect()) {
        HttpError::NotByProxy(proxy.clone(), innermost(&error))
    } else if error.is_timeout() {
        HttpError::TimedOut
    } else if error.is_connect() && causes(&error).any(<dyn Error>::is::<ErrorStack>) {
        HttpError::Untrusted(innermost(&error))
    } else if error.is_connect() {
        HttpError::Unreachable(innermost(&error))
    } else {
        HttpError::Broken(innermost(&error))
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

fn innermost(error: &reqwest::Error) -> TransportError {
    let text = causes(error).last().map(|cause| excerpt(&cause.to_string()));
    TransportError(text.unwrap_or_else(|| "the request failed".to_owned()))
}

#[cfg(test)]
mod tests {
    use mintgate_domain::ports::NoMetrics;
    use time::OffsetDateTime;

    use super::*;

    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn an_outage_is_told_from_a_provider_that_answers() {
        let is_outage = |error: HttpError| error.at(ProviderEndpoint::Token).is_outage();
        let transport = || TransportError("reset".to_owned());
        for outage in [
            HttpError::Unreachable(transport()),
            HttpError::TimedOut,
            HttpError::Broken(transport()),
            HttpError::Status(500),
            HttpError::Status(503),
        ] {
            assert!(is_outage(outage.clone()), "{outage}");
        }
        for answered in [
            HttpError::Status(404),
            HttpError::Redirect(302),
            HttpError::TooLarge,
            HttpError::malformed("it answers with status 503"),
        ] {
            assert!(!is_outage(answered.clone()), "{answered}");
        }
    }

    #[tokio::test]
    async fn names_are_resolved_under_the_policy() {
        let issuer = Url::parse("https://idp.example.com").unwrap();
        let network = Network::default();
        let policy = AddressPolicy::new(&issuer, &network);
        let client = BoundedClient::new(
            ProviderId::new("corp"),
            policy,
            &network,
            Arc::new(StoppedClock),
            Arc::new(NoMetrics),
        );
        // Bypasses the check of the URL, so that only the resolver can refuse.
        let error = client.unwrap().direct.get("http://localhost:1/").send().await.unwrap_err();
        assert_eq!(classify(error, None).outcome(), "blocked");
    }
}
