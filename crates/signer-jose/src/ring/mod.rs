//! The ring of signing keys: which one signs, which will, which still verify.
//!
//! A key always stands by, published, before it is needed, so that those who verify our tokens know
//! it when it begins to sign. All replicas share the keys through a [`KeyRepo`] and read them again
//! every few seconds; whatever the ring holds verifies, so a replica that has not noticed a rotation
//! harms nobody.

mod error;
mod plan;
mod prepared;
mod snapshot;
mod upkeep;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::{Clock, KeyRepo};
use tokio::sync::Mutex;

pub use error::KeyRingError;
use plan::Rules;
pub(crate) use prepared::{PreparedKey, token_type};
use snapshot::Entry;
pub(crate) use snapshot::Snapshot;
pub use snapshot::{KeyInfo, KeyState};
pub use upkeep::{KeyChange, RetireOutcome};

use crate::seal::{KeySeal, Slot};
use crate::{Algorithm, SigningKey, jwks};

/// Keys that nobody knows are looked for in the repository at most this often.
const LOOK_UP_EVERY: Duration = Duration::from_secs(1);

/// How keys are made, replaced and forgotten.
#[derive(Debug, Clone)]
pub struct KeyRingConfig {
    /// The algorithm of new access keys.
    pub access: Algorithm,
    /// The algorithm of new refresh keys; a deterministic one.
    pub refresh: Algorithm,
    /// How long a key must have been published before it may sign: longer than verifiers keep the
    /// JWKS, and replicas wait between two [`KeyRing::load`].
    pub publish_ahead: Duration,
    /// For how long a key signs; `None` if keys are replaced only by hand.
    pub rotate_every: Option<Duration>,
    /// Life of an access token: a former key is kept that long.
    pub access_ttl: Duration,
    /// Life of a refresh token: a former key is kept at least that long.
    pub refresh_ttl: Duration,
}

impl KeyRingConfig {
    fn rules(&self, key_use: KeyUse) -> Rules {
        let (algorithm, token_ttl) = match key_use {
            KeyUse::Access => (self.access, self.access_ttl),
            KeyUse::Refresh => (self.refresh, self.refresh_ttl),
        };
        let Self { publish_ahead, rotate_every, .. } = *self;
        Rules { algorithm, publish_ahead, rotate_every, token_ttl }
    }
}

/// Keys that are given in the configuration. A use that has one is not the ring's to look after, and
/// what the repository holds for it is not used.
#[derive(Debug, Default)]
pub struct FixedKeys {
    /// Signs access tokens.
    pub access: Option<SigningKey>,
    /// Signs refresh tokens; a deterministic algorithm's.
    pub refresh: Option<SigningKey>,
}

/// The signing keys of a replica, kept up to date with the other replicas'.
pub struct KeyRing {
    config: KeyRingConfig,
    repo: Arc<dyn KeyRepo>,
    seal: KeySeal,
    clock: Arc<dyn Clock>,
    fixed: Vec<Entry>,
    snapshot: RwLock<Arc<Snapshot>>,
    /// One at a time reads the repository, so that nothing older takes the place of something newer.
    /// Holds how the last search for an unknown key went.
    loading: Mutex<Option<LookUp>>,
}

/// A search for an unknown key.
struct LookUp {
    /// When it ended, in monotonic time.
    at: Duration,
    /// Why it failed, if it did.
    failure: Option<String>,
}

/// Why there is no key for a token.
pub(crate) enum NotFound {
    /// There is none of this name.
    Unknown,
    /// It cannot be told.
    Unavailable(String),
}

impl KeyRing {
    /// Takes the given keys over; reads nothing. What is not given is there after
    /// [`maintain`](Self::maintain) or [`load`](Self::load).
    ///
    /// # Errors
    /// If a key or algorithm does not fit its use, or both given keys are the same.
    pub fn new(
        config: KeyRingConfig,
        repo: Arc<dyn KeyRepo>,
        seal: KeySeal,
        fixed: FixedKeys,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyRingError> {
        if fixed.refresh.is_none() && !config.refresh.is_deterministic() {
            return Err(KeyRingError::NotDeterministic(config.refresh));
        }
        let created_at = Timestamp::from(clock.now());
        let mut entries = Vec::new();
        for (key_use, key) in [(KeyUse::Access, fixed.access), (KeyUse::Refresh, fixed.refresh)] {
            let Some(key) = key else { continue };
            let id = key.id().clone();
            let prepared = PreparedKey::new(key, key_use);
            let prepared = prepared.map_err(|source| KeyRingError::BadKey {
                key_use,
                number: 0,
                id,
                source,
            })?;
            entries.push(Entry {
                key_use,
                number: 0,
                created_at,
                activates_at: Some(created_at),
                material: TokenHash::of(""),
                prepared: Arc::new(prepared),
            });
        }
        let snapshot = RwLock::new(Arc::new(Snapshot::new(entries.clone())?));
        let loading = Mutex::new(None);
        Ok(Self { config, repo, seal, clock, fixed: entries, snapshot, loading })
    }

    /// Reads the repository; every replica should, every few seconds. Keys that have not changed
    /// are not read anew. After an error the ring is as it was.
    ///
    /// # Errors
    /// If the repository cannot be asked, or holds a key that cannot be opened or used.
    pub async fn load(&self) -> Result<(), KeyRingError> {
        let _alone = self.loading.lock().await;
        self.load_alone().await
    }

    async fn load_alone(&self) -> Result<(), KeyRingError> {
        if KeyUse::ALL.into_iter().all(|key_use| !self.is_managed(key_use)) {
            return Ok(());
        }
        let records = self.repo.list_keys().await?;
        let before = self.snapshot();
        let mut entries = self.fixed.clone();
        for record in records.iter().filter(|record| self.is_managed(record.key_use)) {
            entries.push(self.entry(record, &before)?);
        }
        let snapshot = Arc::new(Snapshot::new(entries)?);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(())
    }

    /// Opens a record, unless that has been done before.
    fn entry(&self, record: &KeyRecord, before: &Snapshot) -> Result<Entry, KeyRingError> {
        let KeyRecord { key_use, number, created_at, activates_at, .. } = *record;
        let material = TokenHash::of(record.material.expose());
        let known = before.of(key_use).iter().find(|known| {
            known.number == number && known.material == material && *known.id() == record.id
        });
        let prepared = match known {
            Some(known) => Arc::clone(&known.prepared),
            None => Arc::new(self.open(record)?),
        };
        Ok(Entry { key_use, number, created_at, activates_at, material, prepared })
    }

    fn open(&self, record: &KeyRecord) -> Result<PreparedKey, KeyRingError> {
        let KeyRecord { key_use, number, .. } = *record;
        let id = || record.id.clone();
        let slot = Slot { key_use, number, id: &record.id };
        let jwk = self
            .seal
            .open(slot, &record.material)
            .map_err(|source| KeyRingError::Sealed { key_use, number, id: id(), source })?;
        let key = SigningKey::from_own_jwk(&jwk).and_then(|key| {
            if *key.id() == record.id {
                return PreparedKey::new(key, key_use);
            }
            let other = "its \"kid\" is not the one it is kept under".to_owned();
            Err(crate::KeyError::Damaged(other))
        });
        key.map_err(|source| KeyRingError::BadKey { key_use, number, id: id(), source })
    }

    /// Every key at this moment, by use and number.
    pub fn keys(&self) -> Vec<KeyInfo> {
        self.snapshot().infos(self.now())
    }

    /// Whether there are keys to sign both kinds of token with.
    pub fn is_loaded(&self) -> bool {
        let snapshot = self.snapshot();
        KeyUse::ALL.into_iter().all(|key_use| snapshot.can_sign(key_use))
    }

    /// The keys as they were last read.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    fn is_managed(&self, key_use: KeyUse) -> bool {
        self.fixed.iter().all(|entry| entry.key_use != key_use)
    }

    /// The key that a token names. One nobody knows may be new: the repository is asked, by one for
    /// all, and at most once a second.
    pub(crate) async fn find(
        &self,
        key_use: KeyUse,
        id: &str,
    ) -> Result<Arc<PreparedKey>, NotFound> {
        if let Some(key) = self.snapshot().find(key_use, id) {
            return Ok(Arc::clone(key));
        }
        let is_another_kinds =
            KeyUse::ALL.into_iter().any(|other| self.snapshot().find(other, id).is_some());
        if is_another_kinds || !self.is_managed(key_use) {
            return Err(NotFound::Unknown);
        }
        let mut last = self.loading.lock().await;
        // Somebody may have found it while we waited.
        if let Some(key) = self.snapshot().find(key_use, id) {
            return Ok(Arc::clone(key));
        }
        let recent = last
            .as_ref()
            .filter(|last| self.clock.monotonic().saturating_sub(last.at) < LOOK_UP_EVERY);
        if recent.is_none() {
            let failure = self.load_alone().await.err().map(|error| error.to_string());
            *last = Some(LookUp { at: self.clock.monotonic(), failure });
        }
        let snapshot = self.snapshot();
        if let Some(key) = snapshot.find(key_use, id) {
            return Ok(Arc::clone(key));
        }
        match last.as_ref().and_then(|last| last.failure.clone()) {
            Some(failure) => Err(NotFound::Unavailable(failure)),
            None if snapshot.can_sign(key_use) => Err(NotFound::Unknown),
            None => Err(NotFound::Unavailable("there are none yet".to_owned())),
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("config", &self.config)
            .field("seal", &self.seal)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
