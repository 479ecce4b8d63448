//! The keys as they were last read, ready to sign and verify.

use std::cmp::Ordering;
use std::sync::Arc;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::{JwksDocument, ListedKey};

use super::prepared::PreparedKey;
use super::{KeyRingError, jwks};
use crate::Algorithm;

/// The state of a key; the documentation of the ring says how a key moves from one to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// The key will sign: it stands by without an activation time, or that time has not come.
    Next,
    /// The key signs new tokens.
    Current,
    /// The key no longer signs, and still verifies what it signed.
    Former,
    /// The key has an algorithm that this version does not know, so it neither signs nor verifies
    /// here. Another version made it.
    Unusable,
}

impl KeyState {
    /// The name of the state in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Former => "former",
            Self::Unusable => "unusable",
        }
    }
}

/// The public description of a key of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Which kind of token the key signs.
    pub key_use: KeyUse,
    /// The key's number among the keys of its use, from 1; `None` for a configured key.
    pub number: Option<u32>,
    /// The `kid` of the key.
    pub id: KeyId,
    /// The key's signature algorithm; `None` if this version does not know it.
    pub algorithm: Option<Algorithm>,
    /// The key's state at this moment.
    pub state: KeyState,
    /// When the key was made; for a configured key, when this process read it.
    pub created_at: Timestamp,
    /// When the key begins or began to sign; `None` if that is not set yet.
    pub activates_at: Option<Timestamp>,
}

impl From<KeyInfo> for ListedKey {
    fn from(key: KeyInfo) -> Self {
        Self {
            id: key.id,
            key_use: key.key_use,
            algorithm: key.algorithm.map(Algorithm::name),
            state: key.state.name(),
            created_at: key.created_at,
        }
    }
}

impl KeyInfo {
    /// A stored key whose algorithm is not known.
    pub(super) fn unusable(record: &KeyRecord) -> Self {
        Self {
            key_use: record.key_use,
            number: Some(record.number),
            id: record.id.clone(),
            algorithm: None,
            state: KeyState::Unusable,
            created_at: record.created_at,
            activates_at: record.activates_at,
        }
    }
}

/// A usable key with its number and times.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key_use: KeyUse,
    /// The number of the key within its use, from 1; 0 for a configured key.
    pub(super) number: u32,
    pub(super) created_at: Timestamp,
    pub(super) activates_at: Option<Timestamp>,
    /// The hash of the stored material, which tells whether the stored key is still the same.
    pub(super) material: TokenHash,
    pub(super) prepared: Arc<PreparedKey>,
}

impl Entry {
    pub(super) fn id(&self) -> &KeyId {
        self.prepared.key().id()
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.prepared.key().algorithm()
    }
}

/// All keys, and the document that publishes them.
#[derive(Default)]
pub(crate) struct Snapshot {
    access: Vec<Entry>,
    refresh: Vec<Entry>,
    unusable: Vec<KeyInfo>,
    jwks: Option<Arc<JwksDocument>>,
}

impl Snapshot {
    /// A snapshot of these keys, in any order.
    ///
    /// # Errors
    /// If an access key and a refresh key are the same or share a `kid`, or a refresh key's
    /// signatures are not deterministic.
    pub(super) fn new(
        mut usable: Vec<Entry>,
        unusable: Vec<KeyInfo>,
    ) -> Result<Self, KeyRingError> {
        usable.sort_by_key(|entry| entry.number);
        let (access, refresh): (Vec<_>, Vec<_>) =
            usable.into_iter().partition(|entry| entry.key_use == KeyUse::Access);
        for (a, r) in access.iter().flat_map(|a| refresh.iter().map(move |r| (a, r))) {
            if a.prepared.key().is_same_key(r.prepared.key()) {
                return Err(KeyRingError::SameKey);
            }
            if a.id() == r.id() {
                return Err(KeyRingError::SameKeyId(a.id().clone()));
            }
        }
        if let Some(entry) = refresh.iter().find(|entry| !entry.algorithm().is_deterministic()) {
            return Err(KeyRingError::NotDeterministic(entry.algorithm()));
        }
        let keys: Vec<_> = access.iter().map(|entry| entry.prepared.key()).collect();
        let jwks = (!keys.is_empty()).then(|| Arc::new(jwks::document(&keys)));
        Ok(Self { access, refresh, unusable, jwks })
    }

    /// The usable keys of a use, by number.
    pub(super) fn of(&self, key_use: KeyUse) -> &[Entry] {
        match key_use {
            KeyUse::Access => &self.access,
            KeyUse::Refresh => &self.refresh,
        }
    }

    /// The highest number given to a key of this use, usable or not; 0 if there is none.
    pub(super) fn highest_number(&self, key_use: KeyUse) -> u32 {
        let unusable = self.unusable.iter().filter(|key| key.key_use == key_use);
        let numbers = unusable.filter_map(|key| key.number);
        numbers.chain(self.of(key_use).last().map(|key| key.number)).max().unwrap_or_default()
    }

    /// The published key set; `None` if there is no access key.
    pub(crate) fn jwks(&self) -> Option<Arc<JwksDocument>> {
        self.jwks.clone()
    }

    /// Whether tokens of this kind can be signed.
    pub(super) fn can_sign(&self, key_use: KeyUse) -> bool {
        current_index(self.of(key_use), Timestamp::from_unix(0)).is_some()
    }

    /// The key that signs at `now`; `None` if no key of this use is loaded.
    pub(crate) fn current(&self, key_use: KeyUse, now: Timestamp) -> Option<&Arc<PreparedKey>> {
        let keys = self.of(key_use);
        keys.get(current_index(keys, now)?).map(|entry| &entry.prepared)
    }

    /// The usable key with this `kid`, whatever its state.
    pub(crate) fn find(&self, key_use: KeyUse, id: &str) -> Option<&Arc<PreparedKey>> {
        let mut keys = self.of(key_use).iter();
        keys.find(|entry| entry.id().as_str() == id).map(|entry| &entry.prepared)
    }

    /// Whether any key has this `kid`, whatever its use, usable or not.
    pub(super) fn contains(&self, id: &str) -> bool {
        KeyUse::ALL.into_iter().any(|key_use| self.find(key_use, id).is_some())
            || self.unusable.iter().any(|key| key.id.as_str() == id)
    }

    /// Describes every key, ordered by use and number.
    pub(super) fn infos(&self, now: Timestamp) -> Vec<KeyInfo> {
        let mut infos = self.unusable.clone();
        for key_use in KeyUse::ALL {
            let keys = self.of(key_use);
            let current = current_index(keys, now);
            infos.extend(keys.iter().enumerate().map(|(index, entry)| KeyInfo {
                key_use,
                number: (entry.number > 0).then_some(entry.number),
                id: entry.id().clone(),
                algorithm: Some(entry.algorithm()),
                state: match current.map(|current| index.cmp(&current)) {
                    Some(Ordering::Less) => KeyState::Former,
                    Some(Ordering::Equal) => KeyState::Current,
                    Some(Ordering::Greater) | None => KeyState::Next,
                },
                created_at: entry.created_at,
                activates_at: entry.activates_at,
            }));
        }
        infos.sort_by_key(|info| (info.key_use, info.number));
        infos
    }
}

/// The index of the key that signs, in the usable keys of one use ordered by number: the last one
/// that is active.
///
/// If none is active yet by this machine's clock, the first key with an activation time signs: the
/// clock that set the time is ahead of ours, and one key has to sign.
pub(super) fn current_index(keys: &[Entry], now: Timestamp) -> Option<usize> {
    keys.iter()
        .rposition(|key| key.activates_at.is_some_and(|at| at <= now))
        .or_else(|| keys.iter().position(|key| key.activates_at.is_some()))
}
