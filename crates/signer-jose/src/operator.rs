//! What an operator can ask of the signing keys, and what comes of it: `mintgate keys`.

mod words;

use std::time::Duration;

use mintgate_domain::model::{Actor, AuditEvent, AuditKind, KeyId, KeyUse, Timestamp};

use crate::Adopted;
use crate::ring::{KeyInfo, KeyRing, KeyRingError, KeyState, RetireOutcome};

pub use words::Signs;

/// A command of an operator about the signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOrder {
    /// Lists every key.
    List,
    /// The next key of this use takes over.
    Rotate(KeyUse),
    /// A key is removed at once.
    Retire {
        /// The `kid` of the key.
        id: KeyId,
        /// Whether this is an emergency; it is refused otherwise.
        emergency: bool,
    },
}

/// What the order has found or done. Its text never holds key material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyReport {
    /// Every key there is, none before the service has started for the first time; and the
    /// key-encryption keys.
    Keys(Vec<KeyInfo>, Vec<SealingKey>),
    /// A key has taken over, or will at its activation time.
    Rotated {
        /// The key that takes over.
        key: KeyInfo,
        /// The key that signed until now, if another one has taken over already.
        before: Option<KeyId>,
        /// How long a key is published before it signs.
        publish_ahead: Duration,
        /// The time in which running services notice.
        reload: Duration,
    },
    /// The keys of a directory are in the store.
    Adopted(Adopted),
    /// What was sealed under a key-encryption key was given up.
    Abandoned {
        /// The name of the key-encryption key.
        name: String,
        /// How many signing keys were removed.
        removed: usize,
    },
    /// A key was removed.
    Retired {
        /// The key that was removed from the ring.
        key: KeyInfo,
        /// The key that signs in its place, if it signed.
        successor: Option<KeyId>,
        /// The time in which running services notice.
        reload: Duration,
    },
}

/// A key-encryption key, as far as it can be told without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingKey {
    /// The name of the key.
    pub name: String,
    /// Whether new secrets are sealed under it.
    pub is_current: bool,
    /// Whether anything may be sealed under it.
    pub is_needed: bool,
}

/// Why an order changed nothing, though the ring would have obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRefusal {
    /// There is no such key.
    NoSuchKey {
        /// The `kid` that was asked for.
        id: KeyId,
        /// The keys of the ring.
        keys: Vec<KeyInfo>,
    },
    /// The key would be removed at once, and nobody has said that this is an emergency.
    NoEmergency(KeyInfo),
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum KeyOrderError {
    /// The order was refused.
    #[error(transparent)]
    Refused(#[from] KeyRefusal),
    /// The ring failed, or has the key from the configuration.
    #[error(transparent)]
    Failed(#[from] KeyRingError),
}

impl KeyReport {
    /// The event to be noted; `None` if nothing was changed.
    pub fn event(&self, at: Timestamp, actor: Actor) -> Option<AuditEvent> {
        let (kind, key) = match self {
            Self::Keys(..) | Self::Abandoned { .. } | Self::Adopted(_) => return None,
            Self::Rotated { key, .. } => (AuditKind::KeyRotated, key),
            Self::Retired { key, .. } => (AuditKind::KeyRetired, key),
        };
        let event = AuditEvent::new(kind, at, actor);
        Some(event.with("kid", &key.id).with("use", key.key_use.name()))
    }
}

impl KeyRing {
    /// Carries out an operator's order on the keys as they were last read. `reload` is the time in
    /// which running services notice a change.
    ///
    /// # Errors
    /// If the order is refused, or as [`rotate`](Self::rotate) and [`retire`](Self::retire).
    pub async fn carry_out(
        &self,
        order: KeyOrder,
        reload: Duration,
    ) -> Result<KeyReport, KeyOrderError> {
        match order {
            KeyOrder::List => Ok(KeyReport::Keys(self.keys(), self.sealing_keys().await?)),
            KeyOrder::Rotate(key_use) => self.order_rotation(key_use, reload).await,
            KeyOrder::Retire { id, emergency } => self.order_removal(id, emergency, reload).await,
        }
    }

    /// The key-encryption keys of the ring, the current one first; none for keys in a directory.
    async fn sealing_keys(&self) -> Result<Vec<SealingKey>, KeyRingError> {
        let Some((repo, keys)) = self.sealed() else { return Ok(vec![]) };
        let noted = repo.sealing_keys().await?;
        let keys = keys.names().enumerate().map(|(index, name)| SealingKey {
            name: name.to_owned(),
            is_current: index == 0,
            is_needed: noted.iter().any(|noted| noted == name),
        });
        Ok(keys.collect())
    }

    async fn order_rotation(
        &self,
        key_use: KeyUse,
        reload: Duration,
    ) -> Result<KeyReport, KeyOrderError> {
        let is_current = |key: &KeyInfo| key.key_use == key_use && key.state == KeyState::Current;
        let before = self.keys().into_iter().find(is_current).map(|key| key.id);
        let key = self.rotate(key_use).await?;
        let before = before.filter(|before| key.state == KeyState::Current && *before != key.id);
        let publish_ahead = self.publish_ahead();
        Ok(KeyReport::Rotated { key, before, publish_ahead, reload })
    }

    async fn order_removal(
        &self,
        id: KeyId,
        emergency: bool,
        reload: Duration,
    ) -> Result<KeyReport, KeyOrderError> {
        let keys = self.keys();
        let Some(key) = keys.iter().find(|key| key.id == id).cloned() else {
            return Err(KeyRefusal::NoSuchKey { id, keys }.into());
        };
        // A key without a number is given in the configuration, which the ring says.
        if !emergency && key.number.is_some() {
            return Err(KeyRefusal::NoEmergency(key).into());
        }
        let successor = match self.retire(&id).await? {
            RetireOutcome::Replaced(next) => Some(next.id),
            RetireOutcome::Removed => None,
            RetireOutcome::Unknown => {
                return Err(KeyRefusal::NoSuchKey { id, keys: self.keys() }.into());
            }
        };
        Ok(KeyReport::Retired { key, successor, reload })
    }
}
