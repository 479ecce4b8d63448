//! How the care for the signing keys goes: what changes is logged, and the last failure is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mintgate_signer_jose::{Algorithm, KeyChange, KeyInfo, KeyRingError};

/// Why the signing keys could not be loaded or maintained the last time, if that failed.
#[derive(Debug, Default)]
pub(crate) struct KeyRingStatus(Mutex<Option<Arc<KeyRingError>>>);

impl KeyRingStatus {
    /// Notes a failure. `true` if the attempt before had succeeded.
    pub(crate) fn failed(&self, error: KeyRingError) -> bool {
        self.lock().replace(Arc::new(error)).is_none()
    }

    /// Notes a success. `true` if the attempt before had failed.
    pub(crate) fn succeeded(&self) -> bool {
        self.lock().take().is_some()
    }

    /// The last failure, unless an attempt has succeeded since.
    pub(crate) fn failure(&self) -> Option<Arc<KeyRingError>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<KeyRingError>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs a change that this process has made to the ring.
pub(crate) fn log(change: &KeyChange) {
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
pub(crate) fn log_unusable(KeyInfo { id, key_use, .. }: &KeyInfo) {
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
