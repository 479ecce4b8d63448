//! The HTTP client of one provider: bounded in time and length, without redirects, retries,
//! proxies or forbidden addresses.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{Clock, Metrics, Misbehaviour, ProviderEndpoint, ProviderError};
use oauth2::{HttpRequest, HttpResponse};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use url::Url;

use crate::address::{AddressPolicy, AddressRefused, PolicedResolver};
use crate::text::excerpt;

/// No proper answer of a provider is longer.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;

/// Idle connections are kept this long: shorter than servers keep theirs (5 s is what Apache and
/// Node.js do by default), because a request sent into a connection that is just being closed has
/// an unknown outcome, and a code is not sent twice.
const KEEP_IDLE: Duration = Duration::from_secs(4);
/// After a burst, no more connections than this are kept.
const MAX_IDLE: usize = 32;

/// Why a request brought no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{0}")]
    Refused(#[from] AddressRefused),
    #[error("it answers a redirect (status {0}), which is not followed")]
    Redirect(u16),
    #[error("its answer is longer than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer {0}")]
    Malformed(String),
    #[error("the connection failed before the answer was complete: {0}")]
    Broken(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("no complete answer in time")]
    TimedOut,
}

impl HttpError {
    /// The metric label.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Refused(_) => "blocked",
            Self::Redirect(_) => "redirect",
            Self::TooLarge => "too_large",
            Self::Status(_) | Self::Broken(_) => "http_error",
            Self::Malformed(_) => "malformed",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timeout",
        }
    }

    /// The error of the port, naming the endpoint.
    pub(crate) fn at(self, endpoint: ProviderEndpoint) -> ProviderError {
        self.at_place(name(endpoint))
    }

    /// The error of the port, naming the place in words.
    pub(crate) fn at_place(self, place: &str) -> ProviderError {
        let text = format!("{place}: {self}");
        match self {
            Self::Unreachable(_) => ProviderError::Unreachable(text.into()),
            Self::TimedOut => ProviderError::TimedOut(text.into()),
            Self::Refused(_) | Self::Redirect(_) | Self::TooLarge | Self::Malformed(_) => {
                ProviderError::Misbehaved(Misbehaviour::BadAnswer, text.into())
            }
            Self::Status(status) if status < 500 => {
                ProviderError::Misbehaved(Misbehaviour::BadAnswer, text.into())
            }
            Self::Status(_) | Self::Broken(_) => {
                ProviderError::Misbehaved(Misbehaviour::Outage, text.into())
            }
        }
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

/// One provider's connections.
pub(crate) struct BoundedClient {
    client: reqwest::Client,
    policy: AddressPolicy,
    provider: ProviderId,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
}

impl BoundedClient {
    /// Sets the client up; connects to nobody.
    pub(crate) fn new(
        provider: ProviderId,
        policy: AddressPolicy,
        connect_timeout: Duration,
        timeout: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, reqwest::Error> {
        // `never` switches off reqwest's own retries. The pool below it sends a request again only
        // if its connection died before the request was taken from the queue, with no byte written.
        let client = reqwest::Client::builder()
            .user_agent(concat!("mintgate/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .dns_resolver(PolicedResolver(policy))
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .pool_idle_timeout(KEEP_IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .build()?;
        Ok(Self { client, policy, provider, clock, metrics })
    }

    /// Checks a URL that a request will go to later.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), HttpError> {
        Ok(self.policy.check_url(url)?)
    }

    /// Sends one request, once, and reads the whole answer, whatever its status.
    pub(crate) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(classify)?;
        self.check_url(request.url())?;
        let mut answer = self.client.execute(request).await.map_err(classify)?;
        if answer.status().is_redirection() {
            return Err(HttpError::Redirect(answer.status().as_u16()));
        }
        if answer.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(HttpError::TooLarge);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(classify)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = HttpResponse::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }

    /// Gets a JSON document; any status but 200 is an error.
    pub(crate) async fn get_json<T, E: Display>(
        &self,
        endpoint: ProviderEndpoint,
        url: &Url,
        bearer: Option<&str>,
        read: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<T, HttpError> {
        self.fetch(endpoint, get(url, bearer), read).await
    }

    /// Sends a request for a JSON document; any status but 200 is an error.
    pub(crate) async fn fetch<T, E: Display>(
        &self,
        endpoint: ProviderEndpoint,
        request: Result<HttpRequest, HttpError>,
        read: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<T, HttpError> {
        let mut observed = self.observe(endpoint);
        let result = async {
            let answer = self.send(request?).await?;
            if answer.status() != http::StatusCode::OK {
                return Err(HttpError::Status(answer.status().as_u16()));
            }
            read(answer.body()).map_err(|error| HttpError::Malformed(error.to_string()))
        }
        .await;
        observed.outcome = result.as_ref().err().map_or("success", HttpError::outcome);
        result
    }

    /// Begins to time a request to an endpoint.
    pub(crate) fn observe(&self, endpoint: ProviderEndpoint) -> Observation<'_> {
        Observation { client: self, endpoint, started: self.clock.monotonic(), outcome: "timeout" }
    }
}

/// A request being timed; counted when it is dropped, as a timeout if nobody has said otherwise:
/// whoever waited for it has given up.
pub(crate) struct Observation<'a> {
    client: &'a BoundedClient,
    endpoint: ProviderEndpoint,
    started: Duration,
    /// How it ended.
    pub(crate) outcome: &'static str,
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        let BoundedClient { clock, metrics, provider, .. } = self.client;
        let took = clock.monotonic().saturating_sub(self.started);
        metrics.provider_request(provider, self.endpoint, self.outcome, took);
    }
}

/// A request for a JSON document.
pub(crate) fn get(url: &Url, bearer: Option<&str>) -> Result<HttpRequest, HttpError> {
    let mut request = http::Request::get(url.as_str())
        .body(Vec::new())
        .map_err(|_| HttpError::Malformed("names a URL that cannot be requested".to_owned()))?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(token) = bearer {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            HttpError::Malformed("had an access token that fits no header".to_owned())
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn classify(error: reqwest::Error) -> HttpError {
    if let Some(refused) = causes(&error).find_map(|cause| cause.downcast_ref::<AddressRefused>()) {
        HttpError::Refused(refused.clone())
    } else if error.is_timeout() {
        HttpError::TimedOut
    } else if error.is_connect() {
        HttpError::Unreachable(innermost(&error))
    } else {
        HttpError::Broken(innermost(&error))
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// The outer errors only say that a request failed, and one of them would repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map_or_else(|| "the request failed".to_owned(), |e| excerpt(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::RevokeReason;
    use mintgate_domain::ports::{Phase, RefreshResult, StoreOperation};
    use time::OffsetDateTime;

    use super::*;

    struct Nothing;

    impl Clock for Nothing {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    impl Metrics for Nothing {
        fn token_generation(&self, _: Option<&ProviderId>, _: &'static str) {}
        fn token_generation_phase(&self, _: &ProviderId, _: Phase, _: Duration) {}
        fn provider_request(
            &self,
            _: &ProviderId,
            _: ProviderEndpoint,
            _: &'static str,
            _: Duration,
        ) {
        }
        fn refresh(&self, _: RefreshResult, _: Duration) {}
        fn sessions_revoked(&self, _: RevokeReason, _: u64) {}
        fn jwks_refresh(&self, _: &ProviderId, _: &'static str) {}
        fn store_query(&self, _: StoreOperation, _: Duration) {}
    }

    #[test]
    fn an_outage_is_told_from_a_provider_that_answers() {
        let at_token = |error: HttpError| error.at(ProviderEndpoint::Token).is_outage();
        assert!(at_token(HttpError::Unreachable("refused".to_owned())));
        assert!(at_token(HttpError::TimedOut));
        assert!(at_token(HttpError::Broken("reset".to_owned())));
        assert!(at_token(HttpError::Status(500)) && at_token(HttpError::Status(503)));
        for answered in [
            HttpError::Status(404),
            HttpError::Redirect(302),
            HttpError::TooLarge,
            HttpError::Malformed("it answers with status 503".to_owned()),
        ] {
            assert!(!at_token(answered.clone()), "{answered}");
        }
        assert!(!ProviderError::CodeRefused("x: it answers with status 503".into()).is_outage());
        assert!(!ProviderError::IdTokenRefused("its exp".into()).is_outage());
    }

    #[tokio::test]
    async fn names_are_resolved_under_the_policy() {
        let issuer = Url::parse("https://idp.example.com").unwrap();
        let policy = AddressPolicy::for_issuer(&issuer, false);
        let second = Duration::from_secs(1);
        let client = BoundedClient::new(
            ProviderId::new("corp"),
            policy,
            second,
            second,
            Arc::new(Nothing),
            Arc::new(Nothing),
        );
        // Past the check of the URL, so that the resolver alone stands in the way.
        let error = client.unwrap().client.get("http://localhost:1/").send().await.unwrap_err();
        assert_eq!(classify(error).outcome(), "blocked");
    }
}
