//! The background task that keeps the ring of signing keys up to date.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::ports::Housekeeping;

use super::{BackgroundTask, StopSignal};

/// The longest pause between attempts as long as no keys are loaded.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Cares for the ring once in `every`.
pub(crate) struct KeyCare {
    pub(crate) care: mintgate_signer_jose::KeyCare,
    pub(crate) housekeeping: Arc<dyn Housekeeping>,
    pub(crate) every: Duration,
}

impl BackgroundTask for KeyCare {
    const NAME: &'static str = "key care";

    async fn round(&mut self, _: &mut StopSignal) {
        self.care.round(&*self.housekeeping).await;
    }

    fn pause(&self) -> Duration {
        if self.care.ring().is_loaded() { self.every } else { self.every.min(RETRY_PAUSE) }
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::ports::StoreError;
    use mintgate_signer_jose::{KeyEvent, KeyRingError, KeyRingStatus, key_events};
    use mintgate_testkit::ManualClock;
    use tokio::sync::watch;

    use super::*;
    use crate::keys::{self, test_keys::TestKeys};

    #[tokio::test]
    async fn keys_that_cannot_be_loaded_are_retried_soon_and_then_at_each_interval() {
        let keys = TestKeys::in_store_without_schema();
        let settings = keys.settings("");
        let store = TestKeys::store_of(&settings);
        let ring =
            keys::open(&settings.keys, &settings.tokens, &store, Arc::new(ManualClock::default()))
                .unwrap();
        let status = Arc::new(KeyRingStatus::default());
        let mut care = KeyCare {
            care: mintgate_signer_jose::KeyCare::new(ring.clone(), status.clone()),
            housekeeping: store.housekeeping.clone(),
            every: settings.keys.reload,
        };
        let (_stop, stopping) = watch::channel(false);
        let mut stopping = StopSignal(stopping);

        care.round(&mut stopping).await;
        let failure = status.failure().unwrap();
        let expected = matches!(*failure, KeyRingError::Store(StoreError::SchemaMismatch(_)));
        assert!(expected, "{failure:?}");
        assert_eq!(care.pause(), RETRY_PAUSE);

        store.migrations.migrate(Duration::ZERO, &|_| ()).await.unwrap();
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

        let mut care = mintgate_signer_jose::KeyCare::new(here.clone(), Arc::default());
        care.round(&*store.housekeeping).await;
        assert_eq!(here.keys(), there.keys());
        let after = here.keys();
        assert!(after.iter().all(|key| key.id != retired));
        // The next key signs now; that there is another next key is no event.
        let expected = [KeyEvent::Gone(&before[0]), KeyEvent::Signs(&after[0])];
        assert_eq!(key_events(&before, &after), expected);
        assert_eq!(after[0].id, before[1].id);
        assert_eq!(key_events(&after, &after), []);
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
        assert_eq!(key_events(&before, &after), [KeyEvent::Unusable(&after[1])]);
        assert_eq!(key_events(&after, &after), []);
    }
}
