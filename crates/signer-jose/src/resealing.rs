//! After a change of the key-encryption key: what is sealed under a former key is sealed anew, under the
//! current one, in small steps and by one process at a time.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyRecord, SessionId, Timestamp};
use mintgate_domain::ports::{
    Clock, Duties, Duty, KeyRepo, Metrics, SealedBefore, StoreError, TokenSeal, UpstreamTokenRepo,
};

use crate::SealedTokens;
use crate::seal::{EncryptionKeys, SealError, Slot, name_of};

/// How many sessions one step looks at.
const STEP: u32 = 500;
/// For how long no other process does this if this one dies in the middle of a round.
const LEASE: Duration = Duration::from_mins(5);
/// The longest round, well below the lease; the next one goes on where this one stopped.
const MAX_ROUND: Duration = Duration::from_mins(4);
/// The time from one round to the next.
const EVERY: Duration = Duration::from_mins(1);

/// The ports that [`Resealing`] calls.
pub struct ResealingPorts {
    /// The signing keys in the store, and the names of the key-encryption keys.
    pub keys: Arc<dyn KeyRepo>,
    /// The providers' tokens.
    pub upstream: Arc<dyn UpstreamTokenRepo>,
    /// Which process seals anew.
    pub duties: Arc<dyn Duties>,
    /// Where it is shown how much is left.
    pub metrics: Arc<dyn Metrics>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
}

/// Why nothing can be sealed anew.
#[derive(Debug, thiserror::Error)]
pub enum ResealingError {
    /// The store has secrets that none of the configured keys opens.
    #[error(
        "the store has secrets that are sealed under the key-encryption key {}, which is not configured. \
         Nothing was changed: put it into keys.former_encryption_keys, and take it out once `mintgate keys \
         list` says that nothing is sealed under it. If it is lost for good: `mintgate keys abandon`",
        .0.join(" and ")
    )]
    MissingKeys(Vec<String>),
    /// The key that is to be abandoned is configured, so nothing is lost.
    #[error("the key-encryption key {0} is configured, so what is sealed under it is not lost")]
    Configured(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be sealed.
    #[error("a secret cannot be sealed anew")]
    Seal(#[from] SealError),
}

/// What a look at all that is sealed has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pass {
    /// The session after which it goes on.
    after: Option<SessionId>,
    resealed: u64,
    /// What is left for the next look, because somebody was using it.
    left: u64,
    /// What no key opens that is configured.
    unreadable: u64,
}

/// Seals anew what is sealed under a former key-encryption key.
///
/// Several processes may have the same two keys in opposite roles while a new key is rolled out. So that
/// they do not undo each other's work, a process seals the few signing keys anew when it starts, and the
/// many tokens as long as a signing key is sealed under its own current key: the process that started last
/// decides.
pub struct Resealing {
    ports: ResealingPorts,
    keys: Arc<EncryptionKeys>,
    seal: SealedTokens,
    has_started: bool,
    pass: Pass,
}

impl Resealing {
    /// Seals under the current key of `keys`, and opens with all of them.
    pub fn new(ports: ResealingPorts, keys: Arc<EncryptionKeys>) -> Self {
        let seal = SealedTokens::new(Arc::clone(&keys));
        Self { ports, keys, seal, has_started: false, pass: Pass::default() }
    }

    /// The time from one round to the next.
    pub fn every(&self) -> Duration {
        EVERY
    }

    /// What a process does before anything is sealed or opened: it makes sure that it can open everything,
    /// notes its keys, and seals the signing keys anew.
    ///
    /// # Errors
    /// [`ResealingError::MissingKeys`], and nothing was changed; or the store failed.
    pub async fn start(&mut self) -> Result<(), ResealingError> {
        let repo = &self.ports.keys;
        let (noted, records) = (repo.sealing_keys().await?, repo.list_keys().await?);
        // A release that noted no names may have sealed these.
        let sealing = records.iter().filter_map(|record| name_of(record.material.expose()));
        let mut missing: Vec<_> = noted.iter().cloned().chain(sealing).collect();
        missing.retain(|name| !self.keys.has(name));
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            return Err(ResealingError::MissingKeys(missing));
        }
        for name in self.keys.names().filter(|name| !noted.iter().any(|noted| noted == name)) {
            repo.note_sealing_key(name).await?;
        }
        for record in records.iter().filter(|record| self.is_sealed_before(record)) {
            let slot = slot(record);
            // The ring says what is wrong with one that does not open.
            let Ok(jwk) = self.keys.open(&slot.label(), record.material.expose()) else { continue };
            let sealed = self.keys.current().seal(slot.label(), jwk.expose().as_bytes())?;
            if repo.reseal_key(record, &SecretText::new(sealed)).await? {
                tracing::info!(kid = %record.id, "a signing key was sealed anew");
            }
        }
        self.has_started = true;
        Ok(())
    }

    /// One round, unless nothing is to be done, or another process does it. `goes_on` waits between two
    /// steps, so that requests come first, and says whether there is to be another.
    ///
    /// # Errors
    /// As [`start`](Self::start); the next round goes on where this one stopped.
    pub async fn round<F: Future<Output = bool>>(
        &mut self,
        goes_on: impl Fn() -> F,
    ) -> Result<(), ResealingError> {
        if !self.has_started {
            self.start().await?;
        }
        let current = self.keys.current().name().to_owned();
        let mut former = self.ports.keys.sealing_keys().await?;
        if !former.contains(&current) {
            self.ports.keys.note_sealing_key(&current).await?;
        }
        former.retain(|name| *name != current && self.keys.has(name));
        if former.is_empty() {
            self.ports.metrics.sealed_under_former_keys(0);
            return Ok(());
        }
        let duties = Arc::clone(&self.ports.duties);
        let is_mine = self.decides().await?;
        if !is_mine || !duties.claim_duty(Duty::Reseal, self.now(), LEASE, EVERY).await? {
            return Ok(());
        }
        let done = self.steps(&former, goes_on).await;
        // After an error too: otherwise no process could claim the duty before the lease ends.
        let ended = duties.end_duty(Duty::Reseal, self.now()).await;
        done.and(ended.map_err(ResealingError::from))
    }

    /// Whether this process started last of those that seal under different keys.
    async fn decides(&self) -> Result<bool, StoreError> {
        let records = self.ports.keys.list_keys().await?;
        Ok(records.is_empty() || !records.iter().all(|record| self.is_sealed_before(record)))
    }

    async fn steps<F: Future<Output = bool>>(
        &mut self,
        former: &[String],
        goes_on: impl Fn() -> F,
    ) -> Result<(), ResealingError> {
        let (started, mark) = (self.ports.clock.monotonic(), self.seal.mark());
        loop {
            let upstream = &self.ports.upstream;
            let page = upstream.sealed_before(&mark, self.pass.after, STEP).await?;
            for token in &page.tokens {
                match self.reseal(token).await? {
                    Some(true) => self.pass.resealed += 1,
                    Some(false) => self.pass.left += 1,
                    None => self.pass.unreadable += 1,
                }
            }
            self.pass.after = page.next;
            if page.next.is_none() {
                return self.finish(former).await;
            }
            let took = self.ports.clock.monotonic().saturating_sub(started);
            if took >= MAX_ROUND || !goes_on().await {
                return Ok(());
            }
        }
    }

    /// Whether a token was sealed anew; `None` if no key opens it.
    async fn reseal(&self, token: &SealedBefore) -> Result<Option<bool>, ResealingError> {
        let SealedBefore { session, kind, sealed } = token;
        let Ok(text) = self.seal.open(*session, *kind, sealed) else { return Ok(None) };
        let Ok(sealed) = self.seal.seal(*session, *kind, &text) else { return Ok(None) };
        Ok(Some(self.ports.upstream.reseal_upstream(token, &sealed, self.now()).await?))
    }

    /// Ends a look at everything: what nothing is sealed under any more is forgotten.
    async fn finish(&mut self, former: &[String]) -> Result<(), ResealingError> {
        let Pass { resealed, left, unreadable, .. } = std::mem::take(&mut self.pass);
        let records = self.ports.keys.list_keys().await?;
        let keys = records.iter().filter(|record| self.is_sealed_before(record)).count();
        let left = left + u64::try_from(keys).unwrap_or(u64::MAX);
        self.ports.metrics.sealed_under_former_keys(left);
        if resealed + unreadable > 0 {
            tracing::info!(
                resealed,
                left,
                unreadable,
                "providers' tokens were sealed anew under the current key-encryption key"
            );
        }
        for name in former.iter().filter(|_| left == 0) {
            self.ports.keys.forget_sealing_key(name).await?;
            tracing::info!(
                key = name,
                "nothing is sealed under this former key-encryption key any more; it can be taken out of \
                 keys.former_encryption_keys"
            );
        }
        Ok(())
    }

    fn is_sealed_before(&self, record: &KeyRecord) -> bool {
        name_of(record.material.expose()).is_some_and(|name| name != self.keys.current().name())
    }

    fn now(&self) -> Timestamp {
        self.ports.clock.now().into()
    }
}

/// Gives up what is sealed under a key-encryption key that is lost for good: removes the signing keys, and
/// forgets the name, so that the service starts. Providers' tokens stay as unreadable as they are. Returns
/// how many signing keys were removed.
///
/// # Errors
/// [`ResealingError::Configured`], and nothing was changed; or the store failed.
pub async fn abandon(
    repo: &dyn KeyRepo,
    keys: &EncryptionKeys,
    name: &str,
) -> Result<usize, ResealingError> {
    if keys.has(name) {
        return Err(ResealingError::Configured(name.to_owned()));
    }
    let mut removed = 0;
    for record in repo.list_keys().await? {
        if name_of(record.material.expose()).as_deref() == Some(name) {
            removed += usize::from(repo.remove_key(record.key_use, &record.id).await?);
        }
    }
    repo.forget_sealing_key(name).await?;
    Ok(removed)
}

fn slot(record: &KeyRecord) -> Slot<'_> {
    Slot { key_use: record.key_use, number: record.number, id: &record.id }
}
