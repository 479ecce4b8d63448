//! What every kind of provider needs to send requests.

use std::sync::Arc;

use mintgate_domain::model::{ProviderId, Timestamp};
use mintgate_domain::ports::{Clock, Metrics, ProviderError};

use crate::address::AddressPolicy;
use crate::client_auth::Authenticator;
use crate::deadline::within;
use crate::exchange::{Exchange, TokenClient, Wanted};
use crate::http::BoundedClient;
use crate::network::Network;

/// The HTTP client of one provider, with our client authentication and the limits of its network.
pub(crate) struct ProviderClient {
    pub(crate) id: ProviderId,
    pub(crate) http: Arc<BoundedClient>,
    pub(crate) network: Network,
    pub(crate) clock: Arc<dyn Clock>,
    authenticator: Authenticator,
    token_parameters: Vec<(String, String)>,
}

impl ProviderClient {
    /// Sets the client up without connecting.
    pub(crate) fn new(
        id: ProviderId,
        (network, policy): (Network, AddressPolicy),
        authenticator: Authenticator,
        token_parameters: Vec<(String, String)>,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, reqwest::Error> {
        let http = BoundedClient::new(id.clone(), policy, &network, Arc::clone(&clock), metrics)?;
        Ok(Self { id, http: Arc::new(http), network, clock, authenticator, token_parameters })
    }

    /// The time now, by the clock that tokens are verified with.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from(self.clock.now())
    }

    /// Prepares one request to the token endpoint.
    pub(crate) fn exchange(
        &self,
        endpoint: &TokenClient,
        wanted: Wanted,
    ) -> Result<Exchange<'_>, ProviderError> {
        Ok(Exchange {
            http: &self.http,
            provider: &self.id,
            wanted,
            authenticated: self.authenticator.prepare(endpoint, self.now())?,
            parameters: &self.token_parameters,
        })
    }

    /// Bounds a whole call of the port, which can make several requests, by the provider's timeout.
    pub(crate) async fn within_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        within(self.network.timeout, call).await
    }
}
