//! Mutual exclusion by key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// A mutex for each key, which exists as long as somebody holds it or waits for it, and is theirs alone
/// who bring the same value.
#[derive(Debug)]
pub(crate) struct KeyedMutex<K, V>(Entries<K, V>);

type Entries<K, V> = Arc<Mutex<HashMap<K, Entry<V>>>>;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    mutex: Arc<tokio::sync::Mutex<()>>,
    /// How many guards there are, whether they hold the mutex or wait for it.
    guards: usize,
}

/// A lock on one key; when it is dropped, the next caller in line gets the lock.
#[derive(Debug)]
pub(crate) struct KeyedGuard<K: Copy + Eq + Hash, V> {
    mutexes: Entries<K, V>,
    key: K,
    /// The lock of the key's mutex; `None` while the guard waits for it.
    held: Option<OwnedMutexGuard<()>>,
}

impl<K, V> Default for KeyedMutex<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Copy + Eq + Hash, V: Clone + PartialEq> KeyedMutex<K, V> {
    /// Waits until nobody else has this key. Those who wait are served in the order they came; to
    /// drop the future is to stop waiting. `None`, at once, if the key is in use with another value.
    pub(crate) async fn lock(&self, key: K, value: V) -> Option<KeyedGuard<K, V>> {
        let mutex = {
            let mut mutexes = entries(&self.0);
            let entry = mutexes.entry(key).or_insert_with(|| Entry {
                value: V::clone(&value),
                mutex: Arc::default(),
                guards: 0,
            });
            if entry.value != value {
                return None;
            }
            entry.guards += 1;
            Arc::clone(&entry.mutex)
        };
        let mut guard = KeyedGuard { mutexes: Arc::clone(&self.0), key, held: None };
        guard.held = Some(mutex.lock_owned().await);
        Some(guard)
    }
}

impl<K: Copy + Eq + Hash, V> Drop for KeyedGuard<K, V> {
    fn drop(&mut self) {
        // Unlocked before the entry can be removed: a key never has two mutexes that are held.
        self.held = None;
        let mut mutexes = entries(&self.mutexes);
        if let Some(entry) = mutexes.get_mut(&self.key) {
            entry.guards -= 1;
            if entry.guards == 0 {
                mutexes.remove(&self.key);
            }
        }
    }
}

fn entries<K, V>(mutexes: &Mutex<HashMap<K, Entry<V>>>) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
    mutexes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn waits(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn a_key_has_one_holder_at_a_time_and_other_keys_have_theirs() {
        let mutexes = KeyedMutex::default();
        let first = mutexes.lock("a", 1).await;
        let _other = mutexes.lock("b", 2).await;
        let mut second = pin!(mutexes.lock("a", 1));
        assert!(waits(second.as_mut()));
        assert!(mutexes.lock("a", 2).await.is_none(), "another value");
        drop(first);
        assert!(!waits(second.as_mut()));
    }

    #[tokio::test]
    async fn a_key_that_nobody_uses_is_forgotten() {
        let mutexes = KeyedMutex::default();
        let first = mutexes.lock("a", 1).await;
        {
            let mut cancelled = pin!(mutexes.lock("a", 1));
            assert!(waits(cancelled.as_mut()));
            assert_eq!(entries(&mutexes.0)["a"].guards, 2);
        }
        assert_eq!(entries(&mutexes.0)["a"].guards, 1);
        drop(first);
        assert!(entries(&mutexes.0).is_empty());
    }
}
