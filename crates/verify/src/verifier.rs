//! Verifies tokens: the checks and their order.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::builder::Builder;
use crate::claims::{Claims, Received};
use crate::clock::Clock;
use crate::issuer::Issuer;
use crate::jws::{Header, HeaderBuffer, Jws};
use crate::key::Algorithm;
use crate::keys::Keys;
use crate::refusal::Refusal;

/// The longest payload, decoded: that of a token of 8192 bytes.
const MAX_PAYLOAD: usize = 6144;

/// Verifies access tokens offline. It is cheap to clone; all clones share the keys.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuers: Vec<Known>,
    rules: Rules,
}

pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) keys: Arc<Keys>,
    #[cfg(feature = "revocations")]
    pub(crate) following: Option<crate::revocations::Following>,
}

/// What is checked of a token.
pub(crate) struct Rules {
    pub(crate) audiences: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    /// How far clocks may differ, in seconds, where `exp`, `nbf` and `iat` are checked.
    pub(crate) leeway: i64,
    pub(crate) accepts_plain_jwt: bool,
    pub(crate) max_length: usize,
    pub(crate) clock: Clock,
}

/// The state of an issuer, for metrics and health checks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IssuerStatus {
    /// The `iss` of the issuer.
    pub issuer: String,
    /// How long ago the keys in use were fetched; `None` before the first time. Normally at most
    /// [`Builder::refetch_every`].
    pub keys_age: Option<Duration>,
    /// How many fetches of keys have failed since the start.
    pub failed_fetches: u64,
    /// The feed of ended sessions, if it is followed.
    #[cfg(feature = "revocations")]
    pub feed: Option<crate::FeedStatus>,
}

impl Verifier {
    /// The settings of a verifier of this issuer's tokens.
    pub fn builder(issuer: impl Into<Issuer>) -> Builder {
        Builder::new(issuer.into())
    }

    pub(crate) fn new(issuers: Vec<Known>, rules: Rules) -> Self {
        Self(Arc::new(Inner { issuers, rules }))
    }

    /// Verifies a token with the keys in memory, without waiting.
    ///
    /// If no key has the token's `kid`, this asks for a fetch and refuses the token; [`verify_or_fetch`](Self::verify_or_fetch)
    /// waits for the fetch.
    ///
    /// # Errors
    /// Why the token is not accepted, or that this cannot be told now.
    pub fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let result = self.0.judge(token);
        if let Err((Refusal::KeyNotFetched, Some(issuer))) = &result {
            issuer.keys.ask();
        }
        result.map_err(|(refusal, _)| refusal)
    }

    /// Verifies a token. If there are no keys yet, or none has the token's `kid`, it waits until they are fetched, at most
    /// [`Builder::wait_at_most`]. So a genuine new key is accepted at once, and tokens with known keys never
    /// wait. However many requests wait, the issuer gets one request in [`Builder::cool_down`].
    ///
    /// # Errors
    /// Why the token is not accepted, or that this cannot be told now.
    pub async fn verify_or_fetch(&self, token: &str) -> Result<Claims, Refusal> {
        match self.0.judge(token) {
            Err((Refusal::NoKeys, Some(issuer))) => {
                issuer.keys.wait_for(|| issuer.keys.age().is_some()).await.ok();
                self.verify(token)
            }
            Err((Refusal::KeyNotFetched, Some(issuer))) => {
                let is_missing = || matches!(self.0.judge(token), Err((Refusal::KeyNotFetched, _)));
                issuer.keys.wait_for(|| !is_missing()).await?;
                self.0.judge(token).map_err(|(refusal, _)| match refusal {
                    Refusal::KeyNotFetched => Refusal::UnknownKey,
                    other => other,
                })
            }
            #[cfg(feature = "revocations")]
            Err((Refusal::RevocationsStale, Some(issuer))) => self.0.ask(issuer, token).await,
            other => other.map_err(|(refusal, _)| refusal),
        }
    }

    /// Whether the keys of all issuers are there, and their feeds of ended sessions have been read, for the readiness check
    /// of a service.
    pub fn is_ready(&self) -> bool {
        self.0.issuers.iter().all(Known::is_ready)
    }

    /// Waits until [`is_ready`](Self::is_ready).
    pub async fn ready(&self) {
        for issuer in &self.0.issuers {
            while issuer.keys.age().is_none() {
                issuer.keys.changed().await;
            }
            while !issuer.is_ready() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// The state of each issuer, for metrics.
    pub fn status(&self) -> Vec<IssuerStatus> {
        let status = |issuer: &Known| IssuerStatus {
            issuer: issuer.name.clone(),
            keys_age: issuer.keys.age(),
            failed_fetches: issuer.keys.failures(),
            #[cfg(feature = "revocations")]
            feed: issuer.following.as_ref().map(|following| following.feed.status()),
        };
        self.0.issuers.iter().map(status).collect()
    }
}

/// A refusal, and the issuer that it is about if keys are missing.
type Refused<'a> = (Refusal, Option<&'a Known>);

impl Inner {
    fn judge(&self, token: &str) -> Result<Claims, Refused<'_>> {
        let plain = |refusal| (refusal, None);
        let limit = self.rules.max_length;
        if token.len() > limit {
            return Err(plain(Refusal::TooLong { limit }));
        }
        let jws = Jws::split(token).map_err(plain)?;
        let mut buffer = HeaderBuffer::new();
        let header = jws.header(&mut buffer).map_err(plain)?;
        let algorithm = self.rules.check_header(&header).map_err(plain)?;
        let received = claims_of(&jws).map_err(plain)?;
        let claims = &received.claims;
        let issuer = self.issuers.iter().find(|issuer| issuer.name == claims.issuer);
        let issuer = issuer.ok_or(plain(Refusal::WrongIssuer))?;
        // Nothing that the token says is used before this, but to choose the keys.
        let signed = issuer.keys.with(header.kid.as_deref(), algorithm, |key| {
            jws.with_signature(|it| key.verifies(algorithm, jws.signed.as_bytes(), it))
        });
        signed.map_err(|refusal| (refusal, Some(issuer)))?;
        self.rules.check_claims(&received).map_err(plain)?;
        #[cfg(feature = "revocations")]
        if let Some(following) = &issuer.following {
            following.feed.check(&received.claims).map_err(|refusal| (refusal, Some(issuer)))?;
        }
        Ok(received.claims)
    }

    /// Asks the issuer about a token that was refused only because the feed is stale, if this is configured.
    #[cfg(feature = "revocations")]
    async fn ask(&self, issuer: &Known, token: &str) -> Result<Claims, Refusal> {
        let following = issuer.following.as_ref().filter(|following| following.feed.asks());
        let following = following.ok_or(Refusal::RevocationsStale)?;
        following.ask(token).await?;
        claims_of(&Jws::split(token)?).map(|received| received.claims)
    }
}

impl Known {
    fn is_ready(&self) -> bool {
        let is_ready = self.keys.age().is_some();
        #[cfg(feature = "revocations")]
        let is_ready =
            is_ready && self.following.as_ref().is_none_or(|following| following.feed.is_ready());
        is_ready
    }
}

fn claims_of(jws: &Jws<'_>) -> Result<Received, Refusal> {
    let mut payload = [0; MAX_PAYLOAD];
    let length = URL_SAFE_NO_PAD
        .decode_slice(jws.payload, &mut payload)
        .map_err(|_| Refusal::Malformed("its claims cannot be decoded"))?;
    serde_json::from_slice(&payload[..length])
        .map_err(|_| Refusal::Malformed("its claims are not those of an access token"))
}

impl Rules {
    fn check_header(&self, header: &Header<'_>) -> Result<Algorithm, Refusal> {
        let is_access_token =
            header.is_type("at+jwt") || (self.accepts_plain_jwt && header.is_type("JWT"));
        if !is_access_token {
            return Err(Refusal::WrongType);
        }
        if header.is_critical {
            return Err(Refusal::CriticalHeader);
        }
        Algorithm::by_name(&header.algorithm)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or(Refusal::WrongAlgorithm)
    }

    fn check_claims(&self, Received { not_before, claims }: &Received) -> Result<(), Refusal> {
        if !claims.audience.iter().any(|each| self.audiences.contains(each)) {
            return Err(Refusal::WrongAudience);
        }
        let now = self.clock.now();
        // RFC 7519 §4.1.4: a token is expired at `exp`, not only after it.
        let expired = now.saturating_sub(claims.expires_at);
        if expired >= self.leeway {
            return Err(Refusal::Expired { seconds: expired });
        }
        for (claim, time) in [("nbf", *not_before), ("iat", Some(claims.issued_at))] {
            let seconds = time.map_or(0, |time| time.saturating_sub(now));
            if seconds > self.leeway {
                return Err(Refusal::NotYetValid { claim, seconds });
            }
        }
        Ok(())
    }
}
