//! Making, replacing and removing keys, together with whatever other replicas do at the same time.
//!
//! The repository decides every race: a call that it answers with `false` has been done by somebody
//! else, so the keys are read again and what they need is decided anew.

use std::collections::HashSet;

use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::Housekeeping;

use super::plan::{Line, Rules, Step};
use super::{KeyInfo, KeyRing, KeyRingError, KeyState};
use crate::seal::Slot;
use crate::{Algorithm, KeyError, SigningKey};

/// So often may others be faster before we give up.
const MAX_LOST_RACES: u32 = 8;

/// Something that has been done to the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// This key was made.
    Added(KeyInfo),
    /// This key was told when to sign.
    Activated(KeyInfo),
    /// This key was removed, its tokens having expired.
    Removed(KeyInfo),
}

impl KeyChange {
    /// The key, as it stood right after; a removed one as it stood before.
    pub fn key(&self) -> &KeyInfo {
        match self {
            Self::Added(key) | Self::Activated(key) | Self::Removed(key) => key,
        }
    }
}

/// What became of retiring a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetireOutcome {
    /// It signed; it is gone, and this one signs in its place.
    Replaced(KeyInfo),
    /// It did not sign; it is gone.
    Removed,
    /// There is no such key.
    Unknown,
}

impl KeyRing {
    /// Does what is due: makes keys that are missing, has the next one take over when its time has
    /// come, removes former keys that nothing depends on any more. Every replica may call this at
    /// any time. The ring is up to date afterwards.
    ///
    /// # Errors
    /// If the repository or the store of sessions fails, or holds a key that cannot be used; what
    /// was done until then stays done.
    pub async fn maintain(
        &self,
        housekeeping: &dyn Housekeeping,
    ) -> Result<Vec<KeyChange>, KeyRingError> {
        let mut changes = Vec::new();
        self.load().await?;
        for key_use in KeyUse::ALL.into_iter().filter(|key_use| self.is_managed(*key_use)) {
            let mut in_use = HashSet::new();
            let mut lost_races = 0;
            while let Some(step) = self.next_step(key_use, &in_use) {
                if let Step::RemoveUnlessInUse(id) = &step
                    && housekeeping.refresh_key_in_use(id, self.now()).await?
                {
                    in_use.insert(id.clone());
                    continue;
                }
                self.take(key_use, step, &mut changes, &mut lost_races).await?;
            }
        }
        Ok(changes)
    }

    /// Has the next key take over: at once if it has been published for long enough, else as soon
    /// as it has. Answers that key; if one is on its way already, that one.
    ///
    /// # Errors
    /// [`KeyRingError::Given`] for a use whose key is in the configuration; else as
    /// [`maintain`](Self::maintain).
    pub async fn rotate(&self, key_use: KeyUse) -> Result<KeyInfo, KeyRingError> {
        self.must_be_managed(key_use)?;
        let rules = self.config.rules(key_use);
        for _ in 0..MAX_LOST_RACES {
            self.complete(key_use).await?;
            let chosen = {
                let snapshot = self.snapshot();
                let line = Line { keys: snapshot.of(key_use), now: self.now() };
                if let Some(scheduled) = line.scheduled() {
                    return self.info(scheduled.id()).ok_or(KeyRingError::Contended);
                }
                line.standing_by(rules.algorithm).map(|next| {
                    let at = line.now.max(next.created_at + rules.publish_ahead);
                    (next.id().clone(), at)
                })
            };
            let Some((id, at)) = chosen else { continue };
            // If it is active already, somebody else has rotated to it just now.
            self.repo.activate_key(key_use, &id, at).await?;
            self.complete(key_use).await?;
            let info = self.info(&id).filter(|info| info.activates_at.is_some());
            if let Some(info) = info {
                return Ok(info);
            }
        }
        Err(KeyRingError::Contended)
    }

    /// Removes a key at once, for emergencies: what it signed is refused from the next
    /// [`load`](Self::load) of each replica on. If it signs, the next one takes over at once, even if
    /// verifiers may not have seen it yet.
    ///
    /// # Errors
    /// [`KeyRingError::Given`] for a key that is in the configuration; else as
    /// [`maintain`](Self::maintain).
    pub async fn retire(&self, id: &KeyId) -> Result<RetireOutcome, KeyRingError> {
        if let Some(given) = self.fixed.iter().find(|entry| entry.id() == id) {
            return Err(KeyRingError::Given(given.key_use));
        }
        self.load().await?;
        for _ in 0..MAX_LOST_RACES {
            let Some(retired) = self.info(id) else { return Ok(RetireOutcome::Unknown) };
            let key_use = retired.key_use;
            let mut successor = None;
            if retired.state == KeyState::Current {
                self.complete(key_use).await?;
                let Some(next) = self.successor(key_use, self.config.rules(key_use).algorithm)
                else {
                    continue;
                };
                self.repo.activate_key(key_use, &next, self.now()).await?;
                self.load().await?;
                if self.info(id).is_some_and(|info| info.state == KeyState::Current) {
                    continue; // The next one was removed just now.
                }
                successor = Some(next);
            }
            let removed = self.repo.remove_key(key_use, id).await?;
            self.complete(key_use).await?;
            return Ok(match successor.and_then(|next| self.info(&next)) {
                Some(next) => RetireOutcome::Replaced(next),
                None if removed => RetireOutcome::Removed,
                None => RetireOutcome::Unknown,
            });
        }
        Err(KeyRingError::Contended)
    }

    fn must_be_managed(&self, key_use: KeyUse) -> Result<(), KeyRingError> {
        if self.is_managed(key_use) { Ok(()) } else { Err(KeyRingError::Given(key_use)) }
    }

    fn info(&self, id: &KeyId) -> Option<KeyInfo> {
        self.keys().into_iter().find(|info| info.id == *id)
    }

    /// The key to take over in an emergency: one of the configured algorithm if there is one.
    fn successor(&self, key_use: KeyUse, algorithm: Algorithm) -> Option<KeyId> {
        let snapshot = self.snapshot();
        let line = Line { keys: snapshot.of(key_use), now: self.now() };
        let next = line.scheduled().or_else(|| line.standing_by(algorithm));
        next.or_else(|| line.above().first()).map(|next| next.id().clone())
    }

    fn next_step(&self, key_use: KeyUse, in_use: &HashSet<KeyId>) -> Option<Step> {
        let rules = self.config.rules(key_use);
        let snapshot = self.snapshot();
        let line = Line { keys: snapshot.of(key_use), now: self.now() };
        line.to_be_complete(&rules)
            .or_else(|| line.to_rotate(&rules))
            .or_else(|| line.to_remove(&rules, in_use))
    }

    /// Sees to it that one key signs and another stands by.
    async fn complete(&self, key_use: KeyUse) -> Result<(), KeyRingError> {
        let rules: Rules = self.config.rules(key_use);
        let (mut changes, mut lost_races) = (Vec::new(), 0);
        self.load().await?;
        loop {
            let step = {
                let snapshot = self.snapshot();
                Line { keys: snapshot.of(key_use), now: self.now() }.to_be_complete(&rules)
            };
            match step {
                Some(step) => self.take(key_use, step, &mut changes, &mut lost_races).await?,
                None => return Ok(()),
            }
        }
    }

    /// Takes a step, reads the keys again, and notes what we, and not somebody else, have changed.
    async fn take(
        &self,
        key_use: KeyUse,
        step: Step,
        changes: &mut Vec<KeyChange>,
        lost_races: &mut u32,
    ) -> Result<(), KeyRingError> {
        let (done, change) = match step {
            Step::Add { number, activates_at } => {
                let record = self.new_record(key_use, number, activates_at).await?;
                let done = self.repo.add_key(&record).await?;
                self.load().await?;
                (done, self.info(&record.id).map(KeyChange::Added))
            }
            Step::Activate(id) => {
                let done = self.repo.activate_key(key_use, &id, self.now()).await?;
                self.load().await?;
                (done, self.info(&id).map(KeyChange::Activated))
            }
            Step::Remove(id) | Step::RemoveUnlessInUse(id) => {
                let info = self.info(&id);
                let done = self.repo.remove_key(key_use, &id).await?;
                self.load().await?;
                (done, info.map(KeyChange::Removed))
            }
        };
        if done {
            changes.extend(change);
            return Ok(());
        }
        *lost_races += 1;
        if *lost_races >= MAX_LOST_RACES {
            return Err(KeyRingError::Contended);
        }
        Ok(())
    }

    async fn new_record(
        &self,
        key_use: KeyUse,
        number: u32,
        activates_at: Option<Timestamp>,
    ) -> Result<KeyRecord, KeyRingError> {
        let algorithm = self.config.rules(key_use).algorithm;
        // An RSA key takes its time.
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let library = |text: String| KeyRingError::Generate(KeyError::Library(text));
        let key = made.map_err(|e| library(e.to_string()))?.map_err(KeyRingError::Generate)?;
        let created_at = self.now();
        let jwk = key.to_private_jwk(created_at).map_err(|e| library(e.to_string()))?;
        let id = key.id().clone();
        let slot = Slot { key_use, number, id: &id };
        let material = self.seal.close(slot, &jwk).map_err(KeyRingError::Seal)?;
        Ok(KeyRecord { key_use, number, id, material, created_at, activates_at })
    }
}
