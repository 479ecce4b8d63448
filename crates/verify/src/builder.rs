//! The settings of a [`Verifier`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::Verifier;
use crate::clock::Clock;
use crate::fetch::{Fetch, FetchError};
use crate::issuer::Issuer;
use crate::key::Algorithm;
use crate::keys::{KeyLocation, KeyTimes, Keys};
use crate::verifier::{Known, Rules};

const MINUTE: Duration = Duration::from_mins(1);

/// The settings of a [`Verifier`]; begin with [`Verifier::builder`].
#[must_use]
pub struct Builder {
    issuers: Vec<Issuer>,
    rules: Rules,
    times: KeyTimes,
    fetch: Option<Arc<dyn Fetch>>,
}

/// Why a [`Verifier`] cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No audience is set: a token for any service would be accepted.
    #[error(
        "no audience is set: name the one that Mintgate's `tokens.audience` has for this service"
    )]
    NoAudience,
    /// No algorithm is accepted.
    #[error("no algorithm is accepted")]
    NoAlgorithm,
    /// The URL of an issuer or of its JWKS cannot be used.
    #[error("issuer {issuer}: {reason}")]
    Issuer {
        /// The issuer as it was configured.
        issuer: String,
        /// Why its URL cannot be used.
        reason: &'static str,
    },
    /// The same issuer is named twice.
    #[error("issuer {0} is named twice")]
    IssuerTwice(String),
    /// There is no tokio runtime for the task that fetches keys.
    #[error(
        "no tokio runtime: build the verifier in an async function, and keep it for all requests"
    )]
    NoRuntime,
    /// The feature `http` is switched off, and [`Builder::fetch`] was not called.
    #[error("nothing fetches keys: switch on the feature `http`, or call `Builder::fetch`")]
    NoFetch,
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Http(#[from] FetchError),
}

impl Builder {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self {
            issuers: vec![issuer],
            rules: Rules {
                audiences: Vec::new(),
                algorithms: vec![Algorithm::Es256],
                leeway: 60,
                accepts_plain_jwt: false,
                max_length: 8192,
                clock: Clock::system(),
            },
            times: KeyTimes {
                refetch_every: 5 * MINUTE,
                cool_down: Duration::from_secs(2),
                keep_for: 24 * 60 * MINUTE,
                wait_at_most: Duration::from_secs(5),
            },
            fetch: None,
        }
    }

    /// Also accepts tokens of this issuer, verified with its own keys only.
    pub fn also(mut self, issuer: impl Into<Issuer>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// Accepts tokens whose `aud` is or contains this text. Call it again to accept several.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.rules.audiences.push(audience.into());
        self
    }

    /// Accepts tokens signed with these algorithms, and no others. Default: ES256.
    pub fn algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.rules.algorithms = algorithms.to_vec();
        self
    }

    /// By how much the clocks of Mintgate and this service may differ (`exp`, `nbf`, `iat`). Default: 60 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX);
        self
    }

    /// Also accepts tokens whose `typ` is `JWT`, as Mintgate issues them with `tokens.typ = "JWT"`. Default: no. An ID token has this
    /// type too, so the audience must not be the client id of an app.
    pub fn accept_plain_jwt(mut self, accept: bool) -> Self {
        self.rules.accepts_plain_jwt = accept;
        self
    }

    /// The longest token that is read, in bytes. Default and maximum: 8192.
    pub fn max_length(mut self, bytes: usize) -> Self {
        self.rules.max_length = bytes.min(8192);
        self
    }

    /// How often the keys are fetched. A key that was retired in an emergency is refused after this time. Default: 5 min,
    /// as long as Mintgate allows its JWKS to be cached.
    pub fn refetch_every(mut self, interval: Duration) -> Self {
        self.times.refetch_every = interval.max(Duration::from_secs(1));
        self
    }

    /// The shortest time between two fetches that tokens with an unknown `kid` cause. Default: 2 s; at least 1 s.
    pub fn cool_down(mut self, interval: Duration) -> Self {
        self.times.cool_down = interval.max(Duration::from_secs(1));
        self
    }

    /// For how long keys are used while the issuer cannot be reached. Default: 24 h.
    pub fn keep_keys_for(mut self, limit: Duration) -> Self {
        self.times.keep_for = limit;
        self
    }

    /// How long [`Verifier::verify_or_fetch`] waits for keys. Default: 5 s.
    pub fn wait_at_most(mut self, limit: Duration) -> Self {
        self.times.wait_at_most = limit;
        self
    }

    /// Fetches keys with this client instead of [`HttpFetch`](crate::HttpFetch).
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Takes the time of day from this function, for tests.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.rules.clock = Clock::by(clock);
        self
    }

    /// Builds the verifier, and starts the tasks that fetch keys on the current tokio runtime. They end when the verifier and
    /// all of its clones are dropped. Does not wait: see [`Verifier::ready`].
    ///
    /// # Errors
    /// A setting is missing or wrong.
    pub fn build(self) -> Result<Verifier, BuildError> {
        if self.rules.audiences.iter().all(String::is_empty) {
            return Err(BuildError::NoAudience);
        }
        if self.rules.algorithms.is_empty() {
            return Err(BuildError::NoAlgorithm);
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        for (index, issuer) in self.issuers.iter().enumerate() {
            issuer.check().map_err(|reason| {
                let issuer = issuer.name.clone();
                BuildError::Issuer { issuer, reason }
            })?;
            if self.issuers[..index].iter().any(|earlier| earlier.name == issuer.name) {
                return Err(BuildError::IssuerTwice(issuer.name.clone()));
            }
        }
        let fetch = match self.fetch {
            Some(fetch) => fetch,
            None => default_fetch()?,
        };
        let known = self.issuers.into_iter().map(|issuer| -> Result<Known, BuildError> {
            let location = match issuer.jwks_url {
                Some(url) => KeyLocation::Jwks(url),
                None => KeyLocation::Discovered { issuer: issuer.name.clone() },
            };
            let keys = Keys::start(location, Arc::clone(&fetch), self.times, &runtime);
            let keys = Arc::new(keys);
            #[cfg(feature = "revocations")]
            let following = match issuer.revocations {
                Some(revocations) => Some(crate::revocations::start(
                    revocations,
                    &issuer.name,
                    &self.rules,
                    Arc::clone(&keys),
                    &runtime,
                )?),
                None => None,
            };
            Ok(Known {
                name: issuer.name,
                keys,
                #[cfg(feature = "revocations")]
                following,
            })
        });
        let known = known.collect::<Result<_, _>>()?;
        Ok(Verifier::new(known, self.rules))
    }
}

#[cfg(feature = "http")]
fn default_fetch() -> Result<Arc<dyn Fetch>, BuildError> {
    Ok(Arc::new(crate::http::HttpFetch::new()?))
}

#[cfg(not(feature = "http"))]
fn default_fetch() -> Result<Arc<dyn Fetch>, BuildError> {
    Err(BuildError::NoFetch)
}
