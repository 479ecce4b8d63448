//! The background task that reads the changes of other replicas to the ring of signing keys, and makes
//! the changes that are due.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::chain;
use mintgate_domain::ports::Housekeeping;
use mintgate_signer_jose::{KeyChange, KeyInfo, KeyRing, KeyState};

use super::{BackgroundTask, StopSignal};
use crate::keys::{self, KeyRingStatus};

/// The longest pause between attempts as long as no keys are loaded.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the ring of signing keys up to date.
pub(crate) struct KeyCare {
    ring: Arc<KeyRing>,
    housekeeping: Arc<dyn Housekeeping>,
    status: Arc<KeyRingStatus>,
    every: Duration,
    /// The keys after the previous round.
    seen: Vec<KeyInfo>,
}

impl KeyCare {
    /// Updates `ring` once in `every`, and notes in `status` whether that succeeded.
    pub(crate) fn new(
        ring: Arc<KeyRing>,
        housekeeping: Arc<dyn Housekeeping>,
        status: Arc<KeyRingStatus>,
        every: Duration,
    ) -> Self {
        let seen = ring.keys();
        Self { ring, housekeeping, status, every, seen }
    }

    /// Logs what has changed since the previous round except for `own`, the changes of this task: by
    /// another replica, by a command, or because a key's activation time has come.
    fn log_foreign_changes(&mut self, own: &[KeyChange]) {
        let now = self.ring.keys();
        for event in events(&self.seen, &now) {
            match event {
                KeyEvent::Signs(KeyInfo { id, key_use, .. }) => {
                    tracing::info!(kid = %id, key_use = key_use.name(), "this signing key signs now");
                }
                KeyEvent::Gone(key) if own.iter().any(|change| change.key().id == key.id) => {}
                KeyEvent::Gone(KeyInfo { id, key_use, .. }) => {
                    tracing::info!(kid = %id, key_use = key_use.name(), "this signing key is gone");
                }
                KeyEvent::Unusable(key) => keys::log_unusable(key),
            }
        }
        self.seen = now;
    }
}

/// What can happen to a key between two rounds.
#[derive(Debug, PartialEq, Eq)]
enum KeyEvent<'a> {
    /// The key has begun to sign.
    Signs(&'a KeyInfo),
    /// The key was removed.
    Gone(&'a KeyInfo),
    /// The key is new, and this version does not know its algorithm.
    Unusable(&'a KeyInfo),
}

/// What has happened to the keys between `before` and `after`.
fn events<'a>(before: &'a [KeyInfo], after: &'a [KeyInfo]) -> Vec<KeyEvent<'a>> {
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

#[cfg(test)]
impl KeyCare {
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring)
    }
}

impl BackgroundTask for KeyCare {
    const NAME: &'static str = "key care";

    async fn round(&mut self, _: &mut StopSignal) {
        match self.ring.apply_due_changes(&*self.housekeeping).await {
            Ok(changes) => {
                changes.iter().for_each(keys::log);
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

    fn pause(&self) -> Duration {
        if self.ring.is_loaded() { self.every } else { self.every.min(RETRY_PAUSE) }
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::ports::StoreError;
    use mintgate_signer_jose::KeyRingError;
    use mintgate_testkit::ManualClock;
    use tokio::sync::watch;

    use super::*;
    use crate::keys::test_keys::TestKeys;

    #[tokio::test]
    async fn keys_that_cannot_be_loaded_are_retried_soon_and_then_at_each_interval() {
        let keys = TestKeys::in_store_without_schema();
        let settings = keys.settings("");
        let store = TestKeys::store_of(&settings);
        let ring =
            keys::open(&settings.keys, &settings.tokens, &store, Arc::new(ManualClock::default()))
                .unwrap();
        let status = Arc::new(KeyRingStatus::default());
        let mut care = KeyCare::new(
            ring.clone(),
            store.housekeeping.clone(),
            status.clone(),
            settings.keys.reload,
        );
        let (_stop, stopping) = watch::channel(false);
        let mut stopping = StopSignal(stopping);

        care.round(&mut stopping).await;
        let failure = status.failure().unwrap();
        let expected = matches!(*failure, KeyRingError::Store(StoreError::SchemaMismatch(_)));
        assert!(expected, "{failure:?}");
        assert_eq!(care.pause(), RETRY_PAUSE);

        store.migrations.migrate().await.unwrap();
        care.round(&mut stopping).await;
        assert!(status.failure().is_none());
        assert_eq!(care.pause(), settings.keys.reload);
        assert!(ring.is_loaded());
    }

    #[tokio::test]
    async fn changes_by_another_replica_are_noticed() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_store().await;
        let settings = keys.settings("");
        let store = TestKeys::store_of(&settings);
        let here = keys.started_ring(&settings, &clock).await;
        let there = keys.started_ring(&settings, &clock).await;
        let retired = here.keys().first().unwrap().id.clone();
        let before = here.keys();
        there.retire(&retired).await.unwrap();
        assert!(here.keys().iter().any(|key| key.id == retired));

        let every = settings.keys.reload;
        let mut care =
            KeyCare::new(here.clone(), store.housekeeping.clone(), Arc::default(), every);
        let (_stop, stopping) = watch::channel(false);
        care.round(&mut StopSignal(stopping)).await;
        assert_eq!(here.keys(), there.keys());
        let after = here.keys();
        assert!(after.iter().all(|key| key.id != retired));
        // The next key signs now; that there is another next key is no event.
        let expected = [KeyEvent::Gone(&before[0]), KeyEvent::Signs(&after[0])];
        assert_eq!(events(&before, &after), expected);
        assert_eq!(after[0].id, before[1].id);
        assert_eq!(events(&after, &after), []);
    }

    #[tokio::test]
    async fn a_key_of_an_unknown_algorithm_is_noticed_once() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_directory().await;
        let settings = keys.settings("");
        let ring = keys.started_ring(&settings, &clock).await;
        let before = ring.keys();
        keys.make_algorithm_unknown("access-2.jwk");
        ring.load().await.unwrap();
        let after = ring.keys();
        assert_eq!(events(&before, &after), [KeyEvent::Unusable(&after[1])]);
        assert_eq!(events(&after, &after), []);
    }
}
