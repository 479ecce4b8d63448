//! The care of the signing keys: what other replicas changed is read, and what is due is done.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::ports::Housekeeping;
use mintgate_signer_jose::{KeyChange, KeyInfo, KeyRing, KeyState};

use super::{Chore, Stopping};
use crate::keys::{self, KeyTrouble};

/// How soon it is tried again as long as there are no keys at all.
const HURRY: Duration = Duration::from_secs(1);

/// Looks after the ring from time to time.
pub(crate) struct KeyCare {
    ring: Arc<KeyRing>,
    housekeeping: Arc<dyn Housekeeping>,
    trouble: Arc<KeyTrouble>,
    every: Duration,
    /// The keys as they were after the last round.
    seen: Vec<KeyInfo>,
}

impl KeyCare {
    /// Looks after the ring each `every`, and tells `trouble` how that went.
    pub(crate) fn new(
        ring: Arc<KeyRing>,
        housekeeping: Arc<dyn Housekeeping>,
        trouble: Arc<KeyTrouble>,
        every: Duration,
    ) -> Self {
        let seen = ring.keys();
        Self { ring, housekeeping, trouble, every, seen }
    }

    /// Tells the log what has changed besides what we did: by another replica, by a command, or
    /// because the time for it has come.
    fn tell_of_the_others(&mut self, own: &[KeyChange]) {
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
            }
        }
        self.seen = now;
    }
}

/// What happens to a key besides its being made.
#[derive(Debug, PartialEq, Eq)]
enum KeyEvent<'a> {
    /// It has begun to sign.
    Signs(&'a KeyInfo),
    /// It was removed.
    Gone(&'a KeyInfo),
}

/// What has happened from one look at the keys to the next.
fn events<'a>(before: &'a [KeyInfo], after: &'a [KeyInfo]) -> Vec<KeyEvent<'a>> {
    let find = |keys: &'a [KeyInfo], key: &KeyInfo| keys.iter().find(|other| other.id == key.id);
    let gone = before.iter().filter(|key| find(after, key).is_none()).map(KeyEvent::Gone);
    let signs = after.iter().filter(|key| {
        let signed = find(before, key).is_some_and(|key| key.state == KeyState::Current);
        key.state == KeyState::Current && !signed
    });
    gone.chain(signs.map(KeyEvent::Signs)).collect()
}

#[cfg(test)]
impl KeyCare {
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring)
    }
}

impl Chore for KeyCare {
    const NAME: &'static str = "key care";

    async fn round(&mut self, _: &mut Stopping) {
        match self.ring.maintain(&*self.housekeeping).await {
            Ok(changes) => {
                changes.iter().for_each(keys::log);
                self.tell_of_the_others(&changes);
                if self.trouble.end() {
                    tracing::info!("the signing keys are up to date again");
                }
            }
            Err(error) => {
                if self.trouble.begin(&error) {
                    tracing::warn!(%error, "the signing keys cannot be brought up to date");
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.ring.is_loaded() { self.every } else { self.every.min(HURRY) }
    }
}

#[cfg(test)]
mod tests {
    use mintgate_testkit::ManualClock;
    use tokio::sync::watch;

    use super::*;
    use crate::keys::tests::Place;

    #[tokio::test]
    async fn keys_that_cannot_be_loaded_are_tried_soon_and_then_each_time() {
        let place = Place::store_without_schema();
        let settings = place.settings("");
        let store = Place::store_of(&settings);
        let ring = keys::open(&settings, &store, Arc::new(ManualClock::default())).unwrap();
        let trouble = Arc::new(KeyTrouble::default());
        let mut care =
            KeyCare::new(ring.clone(), store.housekeeping(), trouble.clone(), settings.keys.reload);
        let (_stop, stopping) = watch::channel(false);
        let mut stopping = Stopping(stopping);

        care.round(&mut stopping).await;
        assert!(trouble.get().is_some_and(|why| why.contains("mintgate migrate")));
        assert_eq!(care.pause(), HURRY);

        store.migrate().await.unwrap();
        care.round(&mut stopping).await;
        assert_eq!(trouble.get(), None);
        assert_eq!(care.pause(), settings.keys.reload);
        assert!(ring.is_loaded());
    }

    #[tokio::test]
    async fn what_another_replica_has_done_is_noticed() {
        let clock = Arc::new(ManualClock::default());
        let place = Place::store().await;
        let settings = place.settings("");
        let store = Place::store_of(&settings);
        let here = place.maintain(&settings, &clock).await;
        let there = place.maintain(&settings, &clock).await;
        let retired = here.keys().first().unwrap().id.clone();
        let before = here.keys();
        there.retire(&retired).await.unwrap();
        assert!(here.keys().iter().any(|key| key.id == retired));

        let every = settings.keys.reload;
        let mut care = KeyCare::new(here.clone(), store.housekeeping(), Arc::default(), every);
        let (_stop, stopping) = watch::channel(false);
        care.round(&mut Stopping(stopping)).await;
        assert_eq!(here.keys(), there.keys());
        let after = here.keys();
        assert!(after.iter().all(|key| key.id != retired));
        // The key that stood by signs now; that another stands by is no event.
        let expected = [KeyEvent::Gone(&before[0]), KeyEvent::Signs(&after[0])];
        assert_eq!(events(&before, &after), expected);
        assert_eq!(after[0].id, before[1].id);
        assert_eq!(events(&after, &after), []);
    }
}
