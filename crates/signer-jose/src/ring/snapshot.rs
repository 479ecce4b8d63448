//! The keys as they were last read, ready to sign and verify.

use std::sync::Arc;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{KeyId, KeyUse, Timestamp};
use mintgate_domain::ports::JwksDocument;

use super::prepared::PreparedKey;
use super::{KeyRingError, jwks};
use crate::Algorithm;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It will sign: it stands by, or its time is set.
    Next,
    /// It signs.
    Current,
    /// It has signed; what it signed is still good.
    Former,
}

impl KeyState {
    /// The name it is shown under.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Former => "former",
        }
    }
}

/// What is public about a key of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// What it signs.
    pub key_use: KeyUse,
    /// Its place in the order, from 1; `None` if it is given in the configuration.
    pub number: Option<u32>,
    /// Its `kid`.
    pub id: KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Where it stands at this moment.
    pub state: KeyState,
    /// Since when there is it; of a key given in the configuration, since when this process has it.
    pub created_at: Timestamp,
    /// From when on it signs, or signed; `None` as long as it stands by.
    pub activates_at: Option<Timestamp>,
}

/// A key in its place.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key_use: KeyUse,
    /// From 1; 0 for a key given in the configuration.
    pub(super) number: u32,
    pub(super) created_at: Timestamp,
    pub(super) activates_at: Option<Timestamp>,
    /// Of its kept form, to tell whether that is still the same.
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
    jwks: Option<Arc<JwksDocument>>,
}

impl Snapshot {
    /// Takes the keys in; they need no order.
    pub(super) fn new(mut entries: Vec<Entry>) -> Result<Self, KeyRingError> {
        entries.sort_by_key(|entry| entry.number);
        let (access, refresh): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.key_use == KeyUse::Access);
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
        Ok(Self { access, refresh, jwks })
    }

    /// The keys of a use, by number.
    pub(super) fn of(&self, key_use: KeyUse) -> &[Entry] {
        match key_use {
            KeyUse::Access => &self.access,
            KeyUse::Refresh => &self.refresh,
        }
    }

    /// `None` as long as there is no access key.
    pub(crate) fn jwks(&self) -> Option<Arc<JwksDocument>> {
        self.jwks.clone()
    }

    /// Whether tokens of this kind can be signed.
    pub(super) fn can_sign(&self, key_use: KeyUse) -> bool {
        current_index(self.of(key_use), Timestamp::from_unix(0)).is_some()
    }

    /// The key that signs now.
    pub(crate) fn current(&self, key_use: KeyUse, now: Timestamp) -> Option<&Arc<PreparedKey>> {
        let keys = self.of(key_use);
        keys.get(current_index(keys, now)?).map(|entry| &entry.prepared)
    }

    /// The key of this name, wherever it stands.
    pub(crate) fn find(&self, key_use: KeyUse, id: &str) -> Option<&Arc<PreparedKey>> {
        let mut keys = self.of(key_use).iter();
        keys.find(|entry| entry.id().as_str() == id).map(|entry| &entry.prepared)
    }

    /// Every key, by use and number.
    pub(super) fn infos(&self, now: Timestamp) -> Vec<KeyInfo> {
        let mut infos = Vec::new();
        for key_use in KeyUse::ALL {
            let keys = self.of(key_use);
            let current = current_index(keys, now);
            infos.extend(keys.iter().enumerate().map(|(index, entry)| KeyInfo {
                key_use,
                number: (entry.number > 0).then_some(entry.number),
                id: entry.id().clone(),
                algorithm: entry.algorithm(),
                state: match current.map(|current| index.cmp(&current)) {
                    Some(std::cmp::Ordering::Less) => KeyState::Former,
                    Some(std::cmp::Ordering::Equal) => KeyState::Current,
                    Some(std::cmp::Ordering::Greater) | None => KeyState::Next,
                },
                created_at: entry.created_at,
                activates_at: entry.activates_at,
            }));
        }
        infos
    }
}

/// Which of a use's keys, in order, signs: the last that is active.
///
/// Where none is active yet by this machine's clock, the first that has a time: the clock it was set
/// by is ahead of ours, and there must be one that signs.
pub(super) fn current_index(keys: &[Entry], now: Timestamp) -> Option<usize> {
    keys.iter()
        .rposition(|key| key.activates_at.is_some_and(|at| at <= now))
        .or_else(|| keys.iter().position(|key| key.activates_at.is_some()))
}
