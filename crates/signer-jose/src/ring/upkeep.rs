//! Making, rotating and removing keys while other replicas do the same.
//!
//! The repository decides every race: where it answers `false`, another replica was faster, so the
//! keys are read again and the next step is decided anew.

use std::collections::HashSet;

use mintgate_domain::Cause;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::Housekeeping;

use super::plan::Step;
use super::{KeyInfo, KeyRing, KeyRingError, KeyState, StoredKeys};
use crate::seal::Slot;
use crate::{KeyError, SigningKey};

/// How often another replica may be faster before a change is given up.
const MAX_LOST_RACES: u32 = 8;

/// A change that this replica has made to the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// The key was made, and is published from now on.
    Added(KeyInfo),
    /// The key got the time from which on it signs.
    Activated(KeyInfo),
    /// The key was removed, because its tokens have expired.
    Removed(KeyInfo),
}

impl KeyChange {
    /// The key as it stood right after the change; a removed key as it stood before.
    pub fn key(&self) -> &KeyInfo {
        match self {
            Self::Added(key) | Self::Activated(key) | Self::Removed(key) => key,
        }
    }
}

/// The result of [`KeyRing::retire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetireOutcome {
    /// The current key was removed; this key signs in its place.
    Replaced(KeyInfo),
    /// A key that does not sign was removed.
    Removed,
    /// The ring has no key of this `kid`.
    Unknown,
}

impl KeyRing {
    /// Makes missing keys, activates the next key if a rotation is due, and removes former keys that
    /// nothing depends on any more. Every replica may call this at any time. It reads the repository
    /// first and leaves the ring up to date.
    ///
    /// # Errors
    /// If the repository or the store of sessions fails, or holds a key that cannot be used. Changes
    /// made before the error stay.
    pub async fn apply_due_changes(
        &self,
        housekeeping: &dyn Housekeeping,
    ) -> Result<Vec<KeyChange>, KeyRingError> {
        let mut changes = Vec::new();
        self.load().await?;
        for key_use in KeyUse::ALL.into_iter().filter(|key_use| self.is_stored(*key_use)) {
            let mut in_use = HashSet::new();
            let mut lost_races = 0;
            while let Some(step) = self.timeline(key_use, &self.snapshot()).due_step(&in_use) {
                if let Step::Remove { id, check_sessions: true } = &step
                    && housekeeping.refresh_key_in_use(id, self.now()).await?
                {
                    in_use.insert(id.clone());
                    continue;
                }
                match self.apply(key_use, step).await? {
                    Some(change) => changes.push(change),
                    None if lost_races == MAX_LOST_RACES => return Err(KeyRingError::Contended),
                    None => lost_races += 1,
                }
            }
        }
        Ok(changes)
    }

    /// Activates the next key: at once if it has been published for `publish_ahead`, else for the
    /// moment when it will have been. Answers that key. If a key is scheduled already, answers that
    /// one and changes nothing.
    ///
    /// # Errors
    /// [`KeyRingError::Fixed`] for a use whose key is in the configuration; otherwise as
    /// [`apply_due_changes`](Self::apply_due_changes).
    pub async fn rotate(&self, key_use: KeyUse) -> Result<KeyInfo, KeyRingError> {
        let stored = self.stored(key_use)?;
        for _ in 0..MAX_LOST_RACES {
            self.add_missing_keys(key_use).await?;
            let snapshot = self.snapshot();
            let timeline = self.timeline(key_use, &snapshot);
            if let Some(scheduled) = timeline.scheduled() {
                return self.info(scheduled.id()).ok_or(KeyRingError::Contended);
            }
            let Some(next) = timeline.standby() else { continue };
            let at = timeline.now.max(next.created_at + timeline.rules.publish_ahead);
            // `false` if another replica has activated the key just now, which is as good.
            stored.repo.activate_key(key_use, next.id(), at).await?;
            self.add_missing_keys(key_use).await?;
            let info = self.info(next.id()).filter(|info| info.activates_at.is_some());
            if let Some(info) = info {
                return Ok(info);
            }
        }
        Err(KeyRingError::Contended)
    }

    /// Removes a key at once, for emergencies: each replica refuses what the key signed from its next
    /// [`load`](Self::load) on. If the key is current, the next one becomes current at once, even if
    /// verifiers may not know it yet.
    ///
    /// # Errors
    /// [`KeyRingError::Fixed`] for a key that is in the configuration; otherwise as
    /// [`apply_due_changes`](Self::apply_due_changes).
    pub async fn retire(&self, id: &KeyId) -> Result<RetireOutcome, KeyRingError> {
        if let Some(fixed) = self.fixed.iter().find(|entry| entry.id() == id) {
            return Err(KeyRingError::Fixed(fixed.key_use));
        }
        self.load().await?;
        for _ in 0..MAX_LOST_RACES {
            let Some(retired) = self.info(id) else { return Ok(RetireOutcome::Unknown) };
            let key_use = retired.key_use;
            let stored = self.stored(key_use)?;
            let mut successor = None;
            if retired.state == KeyState::Current {
                self.add_missing_keys(key_use).await?;
                let Some(next) = self.successor(key_use) else { continue };
                stored.repo.activate_key(key_use, &next, self.now()).await?;
                self.load().await?;
                if self.info(id).is_some_and(|info| info.state == KeyState::Current) {
                    continue; // The next key was removed just now.
                }
                successor = Some(next);
            }
            let removed = stored.repo.remove_key(key_use, id).await?;
            self.add_missing_keys(key_use).await?;
            return Ok(match successor.and_then(|next| self.info(&next)) {
                Some(next) => RetireOutcome::Replaced(next),
                None if removed => RetireOutcome::Removed,
                None => RetireOutcome::Unknown,
            });
        }
        Err(KeyRingError::Contended)
    }

    fn stored(&self, key_use: KeyUse) -> Result<&StoredKeys, KeyRingError> {
        let stored = self.stored.as_ref().filter(|_| self.is_stored(key_use));
        stored.ok_or(KeyRingError::Fixed(key_use))
    }

    fn info(&self, id: &KeyId) -> Option<KeyInfo> {
        self.keys().into_iter().find(|info| info.id == *id)
    }

    /// The key that replaces a retired one: if possible, one of the configured algorithm.
    fn successor(&self, key_use: KeyUse) -> Option<KeyId> {
        let snapshot = self.snapshot();
        let timeline = self.timeline(key_use, &snapshot);
        let next = timeline.scheduled().or_else(|| timeline.standby());
        next.or_else(|| timeline.next_keys().first()).map(|next| next.id().clone())
    }

    /// Reads the keys of a use, and makes what is missing of a current and a standby key.
    async fn add_missing_keys(&self, key_use: KeyUse) -> Result<(), KeyRingError> {
        self.load().await?;
        for _ in 0..MAX_LOST_RACES {
            let step = self.timeline(key_use, &self.snapshot()).missing_key();
            let Some(step) = step else { return Ok(()) };
            self.apply(key_use, step).await?;
        }
        Err(KeyRingError::Contended)
    }

    /// Takes a step and reads the keys again. `None` if another replica was faster.
    async fn apply(&self, key_use: KeyUse, step: Step) -> Result<Option<KeyChange>, KeyRingError> {
        let StoredKeys { repo, .. } = self.stored(key_use)?;
        let (done, change) = match step {
            Step::Add { number, activates_at } => {
                let record = self.new_record(key_use, number, activates_at).await?;
                let done = repo.add_key(&record).await?;
                self.load().await?;
                (done, self.info(&record.id).map(KeyChange::Added))
            }
            Step::Activate(id) => {
                let done = repo.activate_key(key_use, &id, self.now()).await?;
                self.load().await?;
                (done, self.info(&id).map(KeyChange::Activated))
            }
            Step::Remove { id, .. } => {
                let info = self.info(&id);
                let done = repo.remove_key(key_use, &id).await?;
                self.load().await?;
                (done, info.map(KeyChange::Removed))
            }
        };
        Ok(change.filter(|_| done))
    }

    async fn new_record(
        &self,
        key_use: KeyUse,
        number: u32,
        activates_at: Option<Timestamp>,
    ) -> Result<KeyRecord, KeyRingError> {
        let algorithm = self.config.rules(key_use).algorithm;
        // Making an RSA key takes long enough to hold up other tasks.
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let failed = |cause| KeyRingError::Generate(KeyError::Library(cause));
        let made = made.map_err(|e| failed(Cause::from_error("the task did not finish", e)))?;
        let key = made.map_err(KeyRingError::Generate)?;
        let created_at = self.now();
        let jwk = key.to_private_jwk(created_at);
        let jwk = jwk.map_err(|e| failed(Cause::from_error("the JWK cannot be written", e)))?;
        let id = key.id().clone();
        let slot = Slot { key_use, number, id: &id };
        let material = self.stored(key_use)?.seal.seal(slot, &jwk).map_err(KeyRingError::Seal)?;
        Ok(KeyRecord { key_use, number, id, material, created_at, activates_at })
    }
}
