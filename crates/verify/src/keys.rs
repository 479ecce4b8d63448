//! The keys of one issuer in memory, and the task that fetches them.
//!
//! Requests read the last good set and never wait for a fetch of it. One task fetches: at the start, ahead of expiry, and when a
//! request brings an unknown `kid`. So there is one fetch at a time, however many requests want one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::fetch::{Fetch, FetchError, MAX_DOCUMENT};
use crate::key::{Algorithm, PublicKey};
use crate::key_set::KeySet;
use crate::refusal::Refusal;

/// How many requests may wait for a fetch at a time.
const MAX_WAITING: usize = 1024;
const FETCH_LIMIT: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// When keys are fetched, and for how long they are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyTimes {
    pub(crate) refetch_every: Duration,
    pub(crate) cool_down: Duration,
    pub(crate) keep_for: Duration,
    pub(crate) wait_at_most: Duration,
}

/// Where the keys are.
#[derive(Debug, Clone)]
pub(crate) enum KeyLocation {
    /// The issuer's metadata names the JWKS.
    Discovered {
        issuer: String,
    },
    Jwks(String),
}

/// The keys of one issuer. Its task ends when it is dropped.
pub(crate) struct Keys {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    current: ArcSwapOption<Fetched>,
    progress: watch::Sender<Progress>,
    /// The number of the fetch that some request wants to have begun.
    wanted: watch::Sender<u64>,
    waiting: Semaphore,
    failures: AtomicU64,
    times: KeyTimes,
}

struct Fetched {
    set: KeySet,
    at: Instant,
}

/// Fetches are numbered from 1.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    begun: u64,
    ended: u64,
    /// Whether the last one that ended brought a good set.
    succeeded: bool,
}

impl Keys {
    pub(crate) fn start(
        location: KeyLocation,
        fetch: Arc<dyn Fetch>,
        times: KeyTimes,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            current: ArcSwapOption::empty(),
            progress: watch::Sender::new(Progress::default()),
            wanted: watch::Sender::new(0),
            waiting: Semaphore::new(MAX_WAITING),
            failures: AtomicU64::new(0),
            times,
        });
        let fetcher = Fetcher { shared: Arc::clone(&shared), fetch, location, jwks_url: None };
        Self { shared, task: runtime.spawn(fetcher.run()).abort_handle() }
    }

    /// Calls `verify` with the key that the header names.
    ///
    /// # Errors
    /// [`Refusal::NoKeys`], and what [`KeySet::find`] and `verify` return.
    pub(crate) fn with(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        verify: impl FnOnce(&PublicKey) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let current = self.shared.current.load();
        let fetched = current.as_deref().filter(|it| it.at.elapsed() < self.shared.times.keep_for);
        let Some(fetched) = fetched else { return Err(Refusal::NoKeys) };
        verify(fetched.set.find(kid, algorithm)?)
    }

    /// Asks for a fetch, without waiting for it.
    pub(crate) fn ask(&self) {
        let progress = *self.shared.progress.borrow();
        if progress.begun == progress.ended {
            self.shared.want(progress.begun + 1);
        }
    }

    /// Waits until `is_known` or a fetch that began after this call has ended.
    ///
    /// # Errors
    /// [`Refusal::KeyNotFetched`] if the fetch failed or takes too long, or if too many requests wait already.
    pub(crate) async fn wait_for(&self, is_known: impl Fn() -> bool) -> Result<(), Refusal> {
        let Ok(_place) = self.shared.waiting.try_acquire() else {
            return Err(Refusal::KeyNotFetched);
        };
        let fetched = async {
            let mut progress = self.shared.progress.subscribe();
            let needed = progress.borrow_and_update().begun + 1;
            loop {
                let now = *progress.borrow_and_update();
                if is_known() || (now.ended >= needed && now.succeeded) {
                    return Ok(());
                }
                if now.ended >= needed {
                    return Err(Refusal::KeyNotFetched);
                }
                // The fetch that is under way may bring the key; only then is another one needed.
                if now.begun == now.ended {
                    self.shared.want(needed);
                }
                if progress.changed().await.is_err() {
                    return Err(Refusal::KeyNotFetched);
                }
            }
        };
        let limit = self.shared.times.wait_at_most;
        tokio::time::timeout(limit, fetched).await.unwrap_or(Err(Refusal::KeyNotFetched))
    }

    /// How long ago the keys in use were fetched.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.shared.current.load().as_deref().map(|fetched| fetched.at.elapsed())
    }

    /// Waits until a fetch begins or ends.
    pub(crate) async fn changed(&self) {
        let mut progress = self.shared.progress.subscribe();
        if self.age().is_none() {
            progress.changed().await.ok();
        }
    }

    /// How many fetches have failed.
    pub(crate) fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn want(&self, number: u64) {
        self.wanted.send_if_modified(|wanted| {
            let is_new = number > *wanted;
            *wanted = number.max(*wanted);
            is_new
        });
    }
}

struct Fetcher {
    shared: Arc<Shared>,
    fetch: Arc<dyn Fetch>,
    location: KeyLocation,
    /// The URL that the metadata named, until a fetch fails.
    jwks_url: Option<String>,
}

impl Fetcher {
    async fn run(mut self) {
        let mut wanted = self.shared.wanted.subscribe();
        let mut retry = FIRST_RETRY;
        for number in 1.. {
            let begun = Instant::now();
            self.shared.progress.send_modify(|progress| progress.begun = number);
            let outcome = tokio::time::timeout(FETCH_LIMIT, self.fetch_once()).await;
            let outcome = outcome.unwrap_or_else(|_| Err(FetchError::new("it took too long")));
            let next = match &outcome {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    self.shared.times.refetch_every
                }
                Err(error) => {
                    tracing::warn!(location = ?self.location, %error, "keys could not be fetched");
                    self.jwks_url = None;
                    self.shared.failures.fetch_add(1, Ordering::Relaxed);
                    let wait = retry;
                    retry = (retry * 2).min(LAST_RETRY);
                    wait
                }
            };
            let succeeded = outcome.is_ok();
            self.shared.progress.send_modify(|progress| {
                progress.ended = number;
                progress.succeeded = succeeded;
            });
            let asked = async {
                // The sender is in `self`, so this cannot fail.
                let _ = wanted.wait_for(|wanted| *wanted > number).await.map(drop);
                tokio::time::sleep_until(begun + self.shared.times.cool_down).await;
            };
            tokio::select! {
                () = tokio::time::sleep_until(begun + next) => {}
                () = asked => {}
            }
        }
    }

    async fn fetch_once(&mut self) -> Result<(), FetchError> {
        let url = match (&self.location, &self.jwks_url) {
            (KeyLocation::Jwks(url), _) | (_, Some(url)) => url.clone(),
            (KeyLocation::Discovered { issuer }, None) => discover(&*self.fetch, issuer).await?,
        };
        let document = bounded(self.fetch.get(&url).await?)?;
        let set = KeySet::parse(&document).map_err(FetchError::new)?;
        self.jwks_url = Some(url);
        self.shared.current.store(Some(Arc::new(Fetched { set, at: Instant::now() })));
        Ok(())
    }
}

/// Reads the URL of the JWKS from the issuer's metadata (OpenID Connect Discovery §4).
async fn discover(fetch: &dyn Fetch, issuer: &str) -> Result<String, FetchError> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document = bounded(fetch.get(&url).await?)?;
    let metadata: Metadata = serde_json::from_slice(&document)
        .map_err(|_| FetchError::new("the answer is not the metadata of an issuer"))?;
    if metadata.issuer != issuer {
        return Err(FetchError::new("the metadata is that of another issuer"));
    }
    if issuer.starts_with("https://") && !metadata.jwks_uri.starts_with("https://") {
        return Err(FetchError::new("the metadata names a JWKS without https"));
    }
    Ok(metadata.jwks_uri)
}

fn bounded(document: Vec<u8>) -> Result<Vec<u8>, FetchError> {
    if document.len() > MAX_DOCUMENT {
        return Err(FetchError::new("the answer is too large"));
    }
    Ok(document)
}
