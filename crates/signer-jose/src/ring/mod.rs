//! The ring of signing keys: which key signs, which key will, and which keys still verify.
//!
//! All replicas share the keys through a [`KeyRepo`] and read them again every few seconds. The keys
//! of each [`KeyUse`] are numbered from 1, and each of them moves through these states, never back:
//!
//! | From | To | Moved by | When |
//! |---|---|---|---|
//! | absent | current | [`apply_due_changes`] | The use has no usable key: at the first start. |
//! | absent | next | [`apply_due_changes`] | No key of the configured algorithm stands by. |
//! | next | current | [`apply_due_changes`] | `rotate_every` has passed since the current key began to sign, or that key's algorithm is not the configured one; not before the next key has been published for `publish_ahead`. |
//! | next | current | [`rotate`], then the clock | An operator asks; not before the next key has been published for `publish_ahead`. |
//! | next | current | [`retire`] | At once, because the current key is retired. |
//! | current | former | the clock | A next key has become current. |
//! | next | former | the clock | A key with a higher number has become current. |
//! | former | gone | [`apply_due_changes`] | The last token it can have signed expired 10 minutes ago, and no live session's refresh token is signed with it. |
//! | any | gone | [`retire`] | An operator asks, in an emergency. |
//!
//! A next key without an activation time stands by; with one, it is scheduled. Verifiers of our tokens
//! know a next key before it signs, because the key set publishes every access key that is there. A
//! key verifies in every state, so a replica that has not noticed a rotation yet harms nobody.
//!
//! A stored key whose algorithm this version does not know is [`KeyState::Unusable`]: it neither
//! signs, verifies nor is published, and only [`retire`] removes it.
//!
//! [`apply_due_changes`]: KeyRing::apply_due_changes
//! [`rotate`]: KeyRing::rotate
//! [`retire`]: KeyRing::retire

mod error;
mod plan;
mod prepared;
mod snapshot;
mod upkeep;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mintgate_domain::model::{KeyRecord, KeySet, KeyUse, Timestamp};
use mintgate_domain::ports::{Clock, KeyList, KeyRepo, ListedKey, VerifyError};
use mintgate_domain::{Cause, TokenHash};
use tokio::sync::Mutex;

pub use error::KeyRingError;
use plan::{Rules, Timeline};
pub use prepared::AccessTokenType;
pub(crate) use prepared::PreparedKey;
use snapshot::Entry;
pub(crate) use snapshot::Snapshot;
pub use snapshot::{KeyInfo, KeyState};
pub use upkeep::{KeyChange, RetireOutcome};

use crate::seal::{EncryptionKeys, KeySeal, Slot};
use crate::{Algorithm, KeyError, SigningKey, jwks};

/// The repository is searched for an unknown `kid` at most this often.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// How keys are made, rotated and removed.
#[derive(Debug, Clone)]
pub struct KeyRingConfig {
    /// The algorithm of new access keys.
    pub access: Algorithm,
    /// The algorithm of new refresh keys; a deterministic one.
    pub refresh: Algorithm,
    /// The `typ` of access tokens.
    pub access_type: AccessTokenType,
    /// How long a key is published before it may sign. It MUST exceed the time for which verifiers
    /// cache the JWKS, and the time between two calls of [`KeyRing::load`].
    pub publish_ahead: Duration,
    /// How long a key signs before the next one becomes current; `None` if only an operator rotates.
    pub rotate_every: Option<Duration>,
    /// The life of an access token: a former access key is kept that long.
    pub access_ttl: Duration,
    /// The life of a refresh token: a former refresh key is kept at least that long.
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

/// Keys that are given in the configuration. The ring does not change them, and ignores stored keys
/// of the same use.
#[derive(Debug, Default)]
pub struct FixedKeys {
    /// The key that signs access tokens.
    pub access: Option<SigningKey>,
    /// The key that signs refresh tokens; its algorithm must be deterministic.
    pub refresh: Option<SigningKey>,
}

/// The repository of the keys that all replicas share, and how their private parts are encrypted
/// there.
pub struct StoredKeys {
    /// The repository that keeps the records of the keys.
    pub repo: Arc<dyn KeyRepo>,
    /// Seals and opens the private keys in those records.
    pub seal: KeySeal,
}

/// The signing keys of a replica, kept up to date with the other replicas'.
pub struct KeyRing {
    config: KeyRingConfig,
    stored: Option<StoredKeys>,
    fixed: Vec<Entry>,
    clock: Arc<dyn Clock>,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held while the repository is read, so that an older reading never replaces a newer one.
    last_search: Mutex<Option<Search>>,
}

/// A finished search of the repository for an unknown `kid`.
struct Search {
    /// When the search ended, in monotonic time.
    at: Duration,
    /// The reason why the search failed; `None` if it succeeded.
    failure: Option<Cause>,
}

impl KeyRing {
    /// A ring of the fixed keys. [`load`](Self::load) or
    /// [`apply_due_changes`](Self::apply_due_changes) adds the stored ones.
    ///
    /// # Errors
    /// If a key or an algorithm does not fit its use, if both fixed keys are the same, or if there is
    /// a use without a fixed key and no place to store keys.
    pub fn new(
        config: KeyRingConfig,
        stored: Option<StoredKeys>,
        fixed: FixedKeys,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyRingError> {
        if fixed.refresh.is_none() && !config.refresh.is_deterministic() {
            return Err(KeyRingError::NotDeterministic(config.refresh));
        }
        let created_at = Timestamp::from(clock.now());
        let mut entries = Vec::new();
        for (key_use, key) in [(KeyUse::Access, fixed.access), (KeyUse::Refresh, fixed.refresh)] {
            let Some(key) = key else {
                if stored.is_none() {
                    return Err(KeyRingError::NotStored(key_use));
                }
                continue;
            };
            let id = key.id().clone();
            let prepared = PreparedKey::new(key, config.access_type.of(key_use));
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
        let snapshot = RwLock::new(Arc::new(Snapshot::new(entries.clone(), Vec::new())?));
        let last_search = Mutex::new(None);
        Ok(Self { config, stored, fixed: entries, clock, snapshot, last_search })
    }

    /// Reads the repository. Every replica should, every few seconds. After an error the ring is as
    /// it was.
    ///
    /// # Errors
    /// If the repository fails, or holds a key that cannot be opened or used.
    pub async fn load(&self) -> Result<(), KeyRingError> {
        let _alone = self.last_search.lock().await;
        self.load_alone().await
    }

    async fn load_alone(&self) -> Result<(), KeyRingError> {
        let Some(stored) = &self.stored else { return Ok(()) };
        if !KeyUse::ALL.into_iter().any(|key_use| self.is_stored(key_use)) {
            return Ok(());
        }
        let records = stored.repo.list_keys().await?;
        let before = self.snapshot();
        let (mut usable, mut unusable) = (self.fixed.clone(), Vec::new());
        for record in records.iter().filter(|record| self.is_stored(record.key_use)) {
            match entry(record, &stored.seal, self.config.access_type, &before) {
                Err(KeyRingError::BadKey { source: KeyError::UnknownAlgorithm, .. }) => {
                    unusable.push(KeyInfo::unusable(record));
                }
                entry => usable.push(entry?),
            }
        }
        let snapshot = Arc::new(Snapshot::new(usable, unusable)?);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(())
    }

    /// Every key at this moment, by use and number.
    pub fn keys(&self) -> Vec<KeyInfo> {
        self.snapshot().infos(self.now())
    }

    /// The keys with which a process on this ring verifies tokens of a use, as other processes know them.
    pub fn key_set(&self, key_use: KeyUse) -> KeySet {
        let seal = self.stored.as_ref().map(|stored| &stored.seal);
        if self.is_stored(key_use) && matches!(seal, Some(KeySeal::Sealed(_))) {
            return KeySet::OfStore;
        }
        let verifies = self.keys().into_iter();
        let verifies =
            verifies.filter(|key| key.key_use == key_use && key.state != KeyState::Unusable);
        KeySet::Own(verifies.map(|key| key.id).collect())
    }

    /// The repository and the key-encryption keys of a ring whose keys are sealed.
    pub(crate) fn sealed(&self) -> Option<(&dyn KeyRepo, &EncryptionKeys)> {
        let StoredKeys { repo, seal: KeySeal::Sealed(keys) } = self.stored.as_ref()? else {
            return None;
        };
        Some((&**repo, keys))
    }

    /// How long a key is published before it may sign.
    pub(crate) fn publish_ahead(&self) -> Duration {
        self.config.publish_ahead
    }

    /// The `typ` of the tokens that keys of this use sign.
    pub(crate) fn token_type(&self, key_use: KeyUse) -> &'static str {
        self.config.access_type.of(key_use)
    }

    /// Whether keys for both uses, access and refresh tokens, are loaded.
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

    /// Whether the keys of this use are stored, and not fixed.
    fn is_stored(&self, key_use: KeyUse) -> bool {
        self.fixed.iter().all(|entry| entry.key_use != key_use)
    }

    /// The usable keys of a use, as they stand in a snapshot now.
    fn timeline<'a>(&self, key_use: KeyUse, snapshot: &'a Snapshot) -> Timeline<'a> {
        Timeline {
            keys: snapshot.of(key_use),
            highest_number: snapshot.highest_number(key_use),
            rules: self.config.rules(key_use),
            now: self.now(),
        }
    }

    /// The key that a token names. A `kid` that no key has may be a new key's: one caller searches
    /// the repository for all, at most once per [`SEARCH_INTERVAL`].
    ///
    /// # Errors
    /// [`VerifyError::Refused`] if no usable key of the use has this `kid`, and
    /// [`VerifyError::KeysUnavailable`] if the keys cannot be read at present.
    pub(crate) async fn find(
        &self,
        key_use: KeyUse,
        id: &str,
    ) -> Result<Arc<PreparedKey>, VerifyError> {
        let unknown = || VerifyError::Refused("no key of this kind has its \"kid\"".into());
        if let Some(key) = self.snapshot().find(key_use, id) {
            return Ok(Arc::clone(key));
        }
        if self.snapshot().contains(id) || !self.is_stored(key_use) {
            return Err(unknown());
        }
        let mut last_search = self.last_search.lock().await;
        // Another caller may have found the key while this one waited.
        if let Some(key) = self.snapshot().find(key_use, id) {
            return Ok(Arc::clone(key));
        }
        let age = |search: &Search| self.clock.monotonic().saturating_sub(search.at);
        if last_search.as_ref().is_none_or(|search| age(search) >= SEARCH_INTERVAL) {
            let failed = |error| Cause::from_error("the repository of keys cannot be read", error);
            let failure = self.load_alone().await.err().map(failed);
            *last_search = Some(Search { at: self.clock.monotonic(), failure });
        }
        let snapshot = self.snapshot();
        if let Some(key) = snapshot.find(key_use, id) {
            return Ok(Arc::clone(key));
        }
        match last_search.as_ref().and_then(|search| search.failure.clone()) {
            Some(failure) => Err(VerifyError::KeysUnavailable(failure)),
            None if snapshot.can_sign(key_use) => Err(unknown()),
            None => Err(VerifyError::KeysUnavailable("there are none yet".into())),
        }
    }
}

/// The key of a record: the one in the snapshot if the record has not changed, else opened anew.
fn entry(
    record: &KeyRecord,
    seal: &KeySeal,
    access_type: AccessTokenType,
    before: &Snapshot,
) -> Result<Entry, KeyRingError> {
    let KeyRecord { key_use, number, created_at, activates_at, .. } = *record;
    let material = TokenHash::of(record.material.expose());
    let known = before.of(key_use).iter().find(|known| {
        known.number == number && known.material == material && *known.id() == record.id
    });
    let prepared = match known {
        Some(known) => Arc::clone(&known.prepared),
        None => Arc::new(open(record, seal, access_type)?),
    };
    Ok(Entry { key_use, number, created_at, activates_at, material, prepared })
}

fn open(
    record: &KeyRecord,
    seal: &KeySeal,
    access_type: AccessTokenType,
) -> Result<PreparedKey, KeyRingError> {
    let KeyRecord { key_use, number, .. } = *record;
    let id = || record.id.clone();
    let slot = Slot { key_use, number, id: &record.id };
    let jwk = seal.open(slot, &record.material).map_err(|source| KeyRingError::Sealed {
        key_use,
        number,
        id: id(),
        source,
    })?;
    let key = SigningKey::from_own_jwk(&jwk).and_then(|key| {
        if *key.id() == record.id {
            return PreparedKey::new(key, access_type.of(key_use));
        }
        Err(KeyError::Damaged("its \"kid\" is not the one it is stored under".into()))
    });
    key.map_err(|source| KeyRingError::BadKey { key_use, number, id: id(), source })
}

impl KeyList for KeyRing {
    fn list(&self) -> Vec<ListedKey> {
        self.keys().into_iter().map(ListedKey::from).collect()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("config", &self.config)
            .field("seal", &self.stored.as_ref().map(|stored| &stored.seal))
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
