//! The care for the ring while a service runs: what changes is logged, and the last failure is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mintgate_domain::chain;
use mintgate_domain::model::{Actor, AuditEvent, AuditKind};
use mintgate_domain::ports::{AuditLog, Clock, Housekeeping};

use crate::Algorithm;
use crate::ring::{KeyChange, KeyInfo, KeyRing, KeyRingError, KeyState};

/// Why the signing keys could not be loaded or maintained the last time, if that failed.
#[derive(Debug, Default)]
pub struct KeyRingStatus(Mutex<Option<Arc<KeyRingError>>>);

impl KeyRingStatus {
    /// Notes a failure. `true` if the attempt before had succeeded.
    pub fn failed(&self, error: KeyRingError) -> bool {
        self.lock().replace(Arc::new(error)).is_none()
    }

    /// Notes a success. `true` if the attempt before had failed.
    pub fn succeeded(&self) -> bool {
        self.lock().take().is_some()
    }

    /// The last failure, unless an attempt has succeeded since.
    pub fn failure(&self) -> Option<Arc<KeyRingError>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<KeyRingError>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What can happen to a key between two rounds of care.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyEvent<'a> {
    /// The key has begun to sign.
    Signs(&'a KeyInfo),
    /// The key was removed.
    Gone(&'a KeyInfo),
    /// The key is new, and this version does not know its algorithm.
    Unusable(&'a KeyInfo),
}

/// What has happened to the keys between `before` and `after`.
pub fn key_events<'a>(before: &'a [KeyInfo], after: &'a [KeyInfo]) -> Vec<KeyEvent<'a>> {
    let find = |keys: &'a [KeyInfo], key: &KeyInfo| keys.iter().find(|other| other.id == key.id);
    let gone = before.iter().filter(|key| find(after, key).is_none()).map(KeyEvent::Gone);
    let is_new_state = |key: &&KeyInfo| find(before, key).is_none_or(|old| old.state != key.state);
    let changed = after.iter().filter(is_new_state).filter_map(|key| match key.state {
        KeyState::Current => Some(KeyEvent::Signs(key)),
        KeyState::Unusable => Some(KeyEvent::Unusable(key)),
        KeyState::Next | KeyState::Former => None,
    });
    gone.chain(changed).collect()
}

impl KeyRing {
    /// Applies what is due when a service starts, and logs what that changed and which keys this version
    /// cannot use.
    ///
    /// # Errors
    /// As [`apply_due_changes`](Self::apply_due_changes).
    pub async fn start(&self, housekeeping: &dyn Housekeeping) -> Result<(), KeyRingError> {
        self.apply_due_changes(housekeeping).await?.iter().for_each(log_change);
        self.keys().iter().filter(|key| key.state == KeyState::Unusable).for_each(log_unusable);
        Ok(())
    }
}

/// Keeps a ring up to date.
pub struct KeyCare {
    ring: Arc<KeyRing>,
    status: Arc<KeyRingStatus>,
    /// The keys after the previous round.
    seen: Vec<KeyInfo>,
    /// Where a key that takes over is noted, and by which clock.
    audit: Option<(Arc<dyn AuditLog>, Arc<dyn Clock>)>,
}

impl KeyCare {
    /// Cares for `ring`, and notes in `status` whether that succeeds.
    pub fn new(ring: Arc<KeyRing>, status: Arc<KeyRingStatus>) -> Self {
        let seen = ring.keys();
        Self { ring, status, seen, audit: None }
    }

    /// Notes in the audit log when this process lets a key take over.
    #[must_use]
    pub fn noting_in(self, audit: Arc<dyn AuditLog>, clock: Arc<dyn Clock>) -> Self {
        Self { audit: Some((audit, clock)), ..self }
    }

    fn note(&self, change: &KeyChange) {
        if let (KeyChange::Activated(key), Some((audit, clock))) = (change, &self.audit) {
            let event = AuditEvent::new(AuditKind::KeyRotated, clock.now().into(), Actor::Service);
            audit.record(event.with("kid", &key.id).with("use", key.key_use.name()));
        }
    }

    /// The ring that is cared for.
    pub fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Reads the changes of other replicas and makes those that are due. Logs what has changed, a failure
    /// when it begins, and when it is over.
    pub async fn round(&mut self, housekeeping: &dyn Housekeeping) {
        match self.ring.apply_due_changes(housekeeping).await {
            Ok(changes) => {
                for change in &changes {
                    log_change(change);
                    self.note(change);
                }
                self.log_foreign_changes(&changes);
                if self.status.succeeded() {
                    tracing::info!("the signing keys are up to date again");
                }
            }
            Err(error) => {
                let text = chain(&error).to_string();
                if self.status.failed(error) {
                    tracing::warn!(error = text, "the signing keys cannot be brought up to date");
                }
            }
        }
    }

    /// Logs what has changed since the previous round except for `own`, the changes of this ring: by
    /// another replica, by a command, or because a key's activation time has come.
    fn log_foreign_changes(&mut self, own: &[KeyChange]) {
        let now = self.ring.keys();
        for event in key_events(&self.seen, &now) {
            match event {
                KeyEvent::Signs(KeyInfo { id, key_use, .. }) => {
                    tracing::info!(kid = %id, key_use = key_use.name(), "this signing key signs now");
                }
                KeyEvent::Gone(key) if own.iter().any(|change| change.key().id == key.id) => {}
                KeyEvent::Gone(KeyInfo { id, key_use, .. }) => {
                    tracing::info!(kid = %id, key_use = key_use.name(), "this signing key is gone");
                }
                KeyEvent::Unusable(key) => log_unusable(key),
            }
        }
        self.seen = now;
    }
}

/// Logs a change that this process has made to the ring.
fn log_change(change: &KeyChange) {
    let KeyInfo { key_use, id, algorithm, activates_at, .. } = change.key();
    let (kid, key_use) = (id.as_str(), key_use.name());
    let signs_from = activates_at.map(|at| at.to_string());
    match change {
        KeyChange::Added(_) => {
            let algorithm = algorithm.map(Algorithm::name);
            tracing::info!(kid, key_use, algorithm, signs_from, "a signing key was made");
        }
        KeyChange::Activated(_) => {
            tracing::info!(kid, key_use, signs_from, "a signing key takes over");
        }
        KeyChange::Removed(_) => {
            tracing::info!(kid, key_use, "a former signing key was removed");
        }
    }
}

/// Logs that the ring holds a key which this version cannot use.
fn log_unusable(KeyInfo { id, key_use, .. }: &KeyInfo) {
    tracing::warn!(
        kid = %id,
        key_use = key_use.name(),
        "this signing key is ignored: this version does not know its algorithm"
    );
}

#[cfg(test)]
mod tests {
    use mintgate_domain::ports::StoreError;

    use super::*;

    #[test]
    fn a_failure_is_noted_when_it_begins_and_when_it_ends() {
        let status = KeyRingStatus::default();
        let down = || KeyRingError::Store(StoreError::Unavailable("connection refused".into()));
        assert!(!status.succeeded());
        assert!(status.failed(KeyRingError::Contended));
        assert!(!status.failed(down()));
        let last = status.failure().unwrap();
        assert!(matches!(*last, KeyRingError::Store(StoreError::Unavailable(_))), "{last:?}");
        assert!(status.succeeded());
        assert!(status.failure().is_none());
        assert!(status.failed(down()));
    }
}
