//! The cache of a provider's metadata: its endpoints and its keys.
//!
//! The metadata is loaded when it is first needed, by one load for all callers that wait, and refreshed
//! in the background; a refresh that fails keeps the former metadata. Every load runs as a task of its
//! own, so that it finishes even if its caller goes away.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mintgate_domain::chain;
use mintgate_domain::ports::{Clock, Metrics, ProviderEndpoint, ProviderError, TokenSource};
use tokio::sync::Mutex;

use crate::config::Checked;
use crate::discovery::{self, Endpoints};
use crate::http::{BoundedClient, HttpError, JSON, JWKS, get};
use crate::keys::Keys;

/// How long cached metadata is fresh.
const FRESH_FOR: Duration = Duration::from_hours(1);
/// The shortest time between two refreshes of stale metadata, and between two fetches of the keys for
/// tokens that clients post, which anybody can cause.
const COOLDOWN: Duration = Duration::from_secs(30);
/// The shortest time between two fetches of the keys for tokens from the provider's own token endpoint,
/// which a stranger cannot cause.
const PROVIDER_COOLDOWN: Duration = Duration::from_secs(1);

/// The metadata at one time; replaced as a whole.
pub(crate) struct Snapshot {
    pub(crate) endpoints: Arc<Endpoints>,
    /// The keys that verify the provider's tokens.
    pub(crate) keys: Keys,
    loaded_at: Duration,
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

/// When metadata and keys were last fetched, whether that succeeded or not.
#[derive(Default)]
struct LastAttempts {
    refreshed_at: Option<Duration>,
    for_clients_at: Option<Duration>,
    for_provider_at: Option<Duration>,
    /// Whether the last fetch of the keys brought others than before.
    changed: bool,
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

    /// Metadata with newer keys than `seen`, or `None` if there is none.
    ///
    /// The keys are fetched at most once in [`COOLDOWN`] for tokens that clients post, and at most once
    /// in [`PROVIDER_COOLDOWN`] for the provider's own, whether that succeeds or not, and by one task for
    /// all callers that wait. If the last fetch brought other keys, the provider may be changing them
    /// right now, and one of its own tokens waits for the next fetch: its code is spent.
    pub(crate) async fn newer_keys(
        self: &Arc<Self>,
        seen: &Arc<Snapshot>,
        source: TokenSource,
    ) -> Option<Arc<Snapshot>> {
        let mut fetching = Arc::clone(&self.fetching).lock_owned().await;
        let current = self.cached()?;
        if !Arc::ptr_eq(&current, seen) {
            return Some(current);
        }
        match source {
            TokenSource::Client => {
                if self.wait_left(fetching.for_clients_at, COOLDOWN).is_some() {
                    return None;
                }
                fetching.for_clients_at = Some(self.clock.monotonic());
            }
            TokenSource::TokenEndpoint { .. } => {
                if let Some(left) = self.wait_left(fetching.for_provider_at, PROVIDER_COOLDOWN) {
                    if !fetching.changed {
                        return None;
                    }
                    tokio::time::sleep(left).await;
                }
                fetching.for_provider_at = Some(self.clock.monotonic());
            }
        }
        let cache = Arc::clone(self);
        detached(async move {
            let keys = cache.fetch_keys(&current.endpoints).await;
            fetching.changed = keys.as_ref().is_ok_and(|keys| *keys != current.keys);
            let (endpoints, loaded_at) = (Arc::clone(&current.endpoints), current.loaded_at);
            let newer = Arc::new(Snapshot { endpoints, keys: keys.ok()?, loaded_at });
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
        if !stale || self.wait_left(fetching.refreshed_at, COOLDOWN).is_some() {
            return;
        }
        fetching.refreshed_at = Some(self.clock.monotonic());
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
        let url = &self.checked.discovery_url;
        let read = |document: &[u8]| discovery::read(document, &self.checked);
        let endpoint = ProviderEndpoint::Discovery;
        let found = self.http.fetch(endpoint, get(url, JSON, None), read).await;
        let found = found.and_then(|found| found.check(&self.http));
        found.map_err(|error| error.at(endpoint))
    }

    async fn fetch_keys(&self, endpoints: &Endpoints) -> Result<Keys, HttpError> {
        let Checked { config, dialect, symmetric, .. } = &*self.checked;
        if *symmetric {
            // With the secret as the only key, no published key can be used as an HMAC secret.
            return Ok(config.client_secret.as_ref().map(Keys::of_secret).unwrap_or_default());
        }
        let read = |document: &[u8]| Keys::read(document, &dialect.issuer);
        let endpoint = ProviderEndpoint::Jwks;
        let Some(jwks) = &endpoints.jwks else {
            return Err(HttpError::malformed("the discovery document has no jwks_uri"));
        };
        let keys = self.http.fetch(endpoint, get(jwks, JWKS, None), read).await;
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

    /// How much is left of a span that began at the last attempt; `None` if it has passed.
    fn wait_left(&self, last_attempt: Option<Duration>, span: Duration) -> Option<Duration> {
        let passed = self.clock.monotonic().saturating_sub(last_attempt?);
        span.checked_sub(passed).filter(|left| !left.is_zero())
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
