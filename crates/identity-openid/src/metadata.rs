//! The cache of a provider's metadata: its endpoints and its keys.
//!
//! The metadata is loaded when it is first needed, by one load for all callers that wait, and refreshed
//! in the background; a refresh that fails keeps the former metadata. Every load runs as a task of its
//! own, so that it finishes even if its caller goes away.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mintgate_domain::ports::{Clock, Metrics, ProviderEndpoint, ProviderError};
use mintgate_domain::{Cause, chain};
use oauth2::{AuthType, ClientId};
use openidconnect::core::{CoreClientAuthMethod, CoreProviderMetadata};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::config::Checked;
use crate::exchange::TokenClient;
use crate::http::{BoundedClient, HttpError};
use crate::json::JsonError;
use crate::keys::Keys;
use crate::quirks::entra;
use crate::text::excerpt;

/// How long cached metadata is fresh.
const FRESH_FOR: Duration = Duration::from_hours(1);
/// The shortest time between two refreshes of stale metadata, and between two fetches for an unknown
/// key id, which anybody can cause.
const COOLDOWN: Duration = Duration::from_secs(30);

/// The metadata at one time; replaced as a whole.
pub(crate) struct Snapshot {
    pub(crate) endpoints: Arc<Endpoints>,
    /// The keys that verify the provider's tokens.
    pub(crate) keys: Keys,
    loaded_at: Duration,
}

/// The endpoints in the discovery document.
pub(crate) struct Endpoints {
    pub(crate) token: TokenClient,
    /// The authorization endpoint. Browsers are sent there; we send it no request.
    pub(crate) authorization: Url,
    /// Whether authorization responses carry `iss` (RFC 9207 §3).
    pub(crate) names_issuer: bool,
    pub(crate) userinfo: Option<Url>,
    jwks: Url,
}

/// The members of the discovery document that openidconnect does not read.
#[derive(Deserialize)]
struct MoreMetadata {
    /// Whether authorization responses name their issuer (RFC 9207 §3); false if absent.
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// The metadata cache of one provider.
pub(crate) struct MetadataCache {
    checked: Arc<Checked>,
    http: Arc<BoundedClient>,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    state: RwLock<State>,
    /// Locked by the task that fetches.
    fetching: Arc<Mutex<LastAttempts>>,
}

#[derive(Default)]
struct State {
    snapshot: Option<Arc<Snapshot>>,
    /// How many first loads have failed.
    failures: u64,
    /// The error of the last first load that failed.
    last_failure: Option<ProviderError>,
}

#[derive(Default)]
/// When metadata and keys were last fetched, whether that succeeded or not.
struct LastAttempts {
    refreshed_at: Option<Duration>,
    keys_fetched_at: Option<Duration>,
}

impl MetadataCache {
    pub(crate) fn new(
        checked: Arc<Checked>,
        http: Arc<BoundedClient>,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Self {
        let (state, fetching) = (RwLock::default(), Arc::default());
        Self { checked, http, clock, metrics, state, fetching }
    }

    /// The cached metadata, even if it is stale. Waits only if there is none yet.
    pub(crate) async fn current(self: &Arc<Self>) -> Result<Arc<Snapshot>, ProviderError> {
        if let Some(snapshot) = self.cached() {
            if self.is_stale(&snapshot) {
                self.refresh_in_background();
            }
            return Ok(snapshot);
        }
        let failures_seen = self.read(|state| state.failures);
        let fetching = Arc::clone(&self.fetching).lock_owned().await;
        if let Some(snapshot) = self.cached() {
            return Ok(snapshot);
        }
        // Callers that waited for a load share its failure; otherwise each of them would load in turn.
        let shared = self
            .read(|state| state.last_failure.clone().filter(|_| state.failures != failures_seen));
        if let Some(failure) = shared {
            return Err(failure);
        }
        let cache = Arc::clone(self);
        detached(async move {
            let loaded = cache.load().await;
            cache.write(|state| match &loaded {
                Ok(snapshot) => state.snapshot = Some(Arc::clone(snapshot)),
                Err(failure) => {
                    state.failures += 1;
                    state.last_failure = Some(failure.clone());
                }
            });
            drop(fetching);
            loaded
        })
        .await?
    }

    /// Metadata with newer keys than `seen`, or `None` if there is none. Fetches the keys at most once in
    /// [`COOLDOWN`], whether that succeeds or not.
    pub(crate) async fn newer_keys(
        self: &Arc<Self>,
        seen: &Arc<Snapshot>,
    ) -> Option<Arc<Snapshot>> {
        let mut fetching = Arc::clone(&self.fetching).lock_owned().await;
        let current = self.cached()?;
        if !Arc::ptr_eq(&current, seen) {
            return Some(current);
        }
        if !self.is_due(&mut fetching.keys_fetched_at) {
            return None;
        }
        let cache = Arc::clone(self);
        detached(async move {
            let keys = cache.fetch_keys(&current.endpoints).await.ok()?;
            let (endpoints, loaded_at) = (Arc::clone(&current.endpoints), current.loaded_at);
            let newer = Arc::new(Snapshot { endpoints, keys, loaded_at });
            cache.write(|state| state.snapshot = Some(Arc::clone(&newer)));
            drop(fetching);
            Some(newer)
        })
        .await
        .ok()?
    }

    fn refresh_in_background(self: &Arc<Self>) {
        // Another task is fetching already.
        let Ok(mut fetching) = Arc::clone(&self.fetching).try_lock_owned() else { return };
        let stale = self.cached().is_none_or(|snapshot| self.is_stale(&snapshot));
        if !stale || !self.is_due(&mut fetching.refreshed_at) {
            return;
        }
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            match cache.load().await {
                Ok(snapshot) => cache.write(|state| state.snapshot = Some(snapshot)),
                Err(error) => {
                    let provider = &cache.checked.config.id;
                    tracing::warn!(%provider, error = %chain(&error), "refresh of the provider metadata failed; the former metadata stays");
                }
            }
            drop(fetching);
        });
    }

    async fn load(&self) -> Result<Arc<Snapshot>, ProviderError> {
        let endpoints = self.discover().await?;
        let keys = self.fetch_keys(&endpoints).await;
        let keys = keys.map_err(|error| error.at(ProviderEndpoint::Jwks))?;
        let loaded_at = self.clock.monotonic();
        Ok(Arc::new(Snapshot { endpoints: Arc::new(endpoints), keys, loaded_at }))
    }

    async fn discover(&self) -> Result<Endpoints, ProviderError> {
        let Checked { config, dialect, discovery_url, .. } = &*self.checked;
        let read = |document: &[u8]| {
            let unreadable =
                |error| Cause::from_error("it is not a discovery document", JsonError::from(error));
            let metadata: CoreProviderMetadata =
                serde_json::from_slice(document).map_err(unreadable)?;
            let more: MoreMetadata = serde_json::from_slice(document).map_err(unreadable)?;
            // Compared as texts: a slash more is another issuer (OIDC Discovery §4.3).
            if metadata.issuer().as_str()
                != entra::discovered_issuer(&dialect.issuer, &config.issuer)
            {
                return Err(format!("it names the issuer {}", excerpt(metadata.issuer())).into());
            }
            Ok((metadata, more))
        };
        let found =
            self.http.get_json(ProviderEndpoint::Discovery, discovery_url, None, read).await;
        found
            .and_then(|(metadata, more)| self.endpoints(&metadata, &more))
            .map_err(|error| error.at(ProviderEndpoint::Discovery))
    }

    fn endpoints(
        &self,
        metadata: &CoreProviderMetadata,
        more: &MoreMetadata,
    ) -> Result<Endpoints, HttpError> {
        let token_url = metadata
            .token_endpoint()
            .ok_or_else(|| HttpError::malformed("it names no token_endpoint"))?;
        let userinfo = metadata.userinfo_endpoint().map(|endpoint| endpoint.url().clone());
        let jwks = metadata.jwks_uri().url().clone();
        for url in [token_url.url(), &jwks].into_iter().chain(&userinfo) {
            self.http.check_url(url)?;
        }
        let Checked { config, dialect, .. } = &*self.checked;
        let authentication = &dialect.client_authentication;
        let token = oauth2::Client::new(ClientId::new(config.client_id.clone()))
            .set_token_uri(token_url.clone())
            .set_auth_type(authentication.auth_type(|| auth_type(metadata)));
        let authorization = metadata.authorization_endpoint().url().clone();
        let names_issuer = more.authorization_response_iss_parameter_supported == Some(true);
        Ok(Endpoints { token, authorization, names_issuer, userinfo, jwks })
    }

    async fn fetch_keys(&self, endpoints: &Endpoints) -> Result<Keys, HttpError> {
        let Checked { config, dialect, symmetric, .. } = &*self.checked;
        if *symmetric {
            // With the secret as the only key, no published key can be used as an HMAC secret.
            return Ok(config.client_secret.as_ref().map(Keys::of_secret).unwrap_or_default());
        }
        let read = |document: &[u8]| Keys::read(document, &dialect.issuer);
        let endpoint = ProviderEndpoint::Jwks;
        let keys = self.http.get_json(endpoint, &endpoints.jwks, None, read).await;
        if self.cached().is_some() {
            self.count_refresh(&keys);
        }
        keys
    }

    fn count_refresh(&self, keys: &Result<Keys, HttpError>) {
        let provider = &self.checked.config.id;
        let outcome = keys.as_ref().err().map_or("success", HttpError::outcome);
        self.metrics.jwks_refresh(provider, outcome);
        match keys {
            Ok(_) => tracing::info!(%provider, "JWKS fetched again"),
            Err(error) => {
                tracing::warn!(%provider, error = %chain(error), "JWKS not fetched; former keys stay");
            }
        }
    }

    fn is_stale(&self, snapshot: &Snapshot) -> bool {
        self.clock.monotonic().saturating_sub(snapshot.loaded_at) > FRESH_FOR
    }

    /// Whether [`COOLDOWN`] has passed since the last attempt; if so, records a new attempt.
    fn is_due(&self, last_attempt: &mut Option<Duration>) -> bool {
        let now = self.clock.monotonic();
        let due = last_attempt.is_none_or(|at| now.saturating_sub(at) >= COOLDOWN);
        if due {
            *last_attempt = Some(now);
        }
        due
    }

    fn cached(&self) -> Option<Arc<Snapshot>> {
        self.read(|state| state.snapshot.clone())
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Runs work to its end even if the caller goes away.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ProviderError> {
    tokio::spawn(work)
        .await
        .map_err(|_| ProviderError::Unreachable("loading its metadata was aborted".into()))
}

/// `client_secret_basic`, unless the provider offers only `client_secret_post` (OIDC Discovery §3). A
/// client without a secret sends its id in the body with both.
fn auth_type(metadata: &CoreProviderMetadata) -> AuthType {
    let offered = metadata.token_endpoint_auth_methods_supported();
    let offers = |method| offered.is_some_and(|offered| offered.contains(&method));
    if offers(CoreClientAuthMethod::ClientSecretPost)
        && !offers(CoreClientAuthMethod::ClientSecretBasic)
    {
        AuthType::RequestBody
    } else {
        AuthType::BasicAuth
    }
}
