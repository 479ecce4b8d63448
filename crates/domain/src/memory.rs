//! A bounded memory of recent things.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A map that forgets: an entry is gone after `keep_for`, and the oldest entry goes first when there
/// are more than `capacity`.
///
/// Time is what the caller says it is, on a monotonic clock
/// ([`Clock::monotonic`](crate::ports::Clock::monotonic)). Methods lock for the length of one
/// operation on a map.
///
/// ```
/// use std::time::Duration;
///
/// use mintgate_domain::memory::Bounded;
///
/// let memory = Bounded::new(2, Duration::from_secs(60));
/// let second = Duration::from_secs(1);
/// memory.insert("a", 1, second);
/// assert!(!memory.insert_new("a", 2, second));
/// assert_eq!(memory.get(&"a", second), Some(1));
/// assert_eq!(memory.get(&"a", second * 61), None);
/// ```
#[derive(Debug)]
pub struct Bounded<K, V> {
    capacity: usize,
    keep_for: Duration,
    entries: Mutex<Entries<K, V>>,
}

#[derive(Debug)]
struct Entries<K, V> {
    by_key: HashMap<K, (u64, Duration, V)>,
    /// The oldest first. An entry that was removed or replaced is still here until its turn comes:
    /// its number is no longer the one in `by_key`.
    by_age: VecDeque<(u64, Duration, K)>,
    next_number: u64,
}

impl<K: Hash + Eq + Clone, V> Bounded<K, V> {
    /// An empty memory for at most `capacity` entries, each kept for `keep_for`.
    pub fn new(capacity: usize, keep_for: Duration) -> Self {
        let entries = Entries { by_key: HashMap::new(), by_age: VecDeque::new(), next_number: 0 };
        Self { capacity, keep_for, entries: Mutex::new(entries) }
    }

    /// Remembers a value, in place of an older one of the same key.
    pub fn insert(&self, key: K, value: V, now: Duration) {
        let mut entries = self.lock();
        self.forget(&mut entries, now);
        entries.insert(key, value, now);
    }

    /// Remembers a value unless the key is known; `false` if it is.
    pub fn insert_new(&self, key: K, value: V, now: Duration) -> bool {
        let mut entries = self.lock();
        self.forget(&mut entries, now);
        let is_new = !entries.by_key.contains_key(&key);
        if is_new {
            entries.insert(key, value, now);
        }
        is_new
    }

    /// Removes the entry of a key and returns its value; `None` if nothing is remembered under it.
    pub fn remove(&self, key: &K, now: Duration) -> Option<V> {
        self.remove_if(key, now, |_| true)
    }

    /// Removes the entry of a key and returns its value, if `is_wanted` accepts the value;
    /// otherwise the entry stays.
    pub fn remove_if(
        &self,
        key: &K,
        now: Duration,
        is_wanted: impl FnOnce(&V) -> bool,
    ) -> Option<V> {
        let mut entries = self.lock();
        self.forget(&mut entries, now);
        let (.., value) = entries.by_key.get(key)?;
        if !is_wanted(value) {
            return None;
        }
        entries.by_key.remove(key).map(|(.., value)| value)
    }

    /// How many entries are remembered, those included that will be forgotten at the next call.
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether no entry is remembered, also none that will be forgotten at the next call.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn forget(&self, entries: &mut Entries<K, V>, now: Duration) {
        while let Some((number, at, key)) = entries.by_age.front()
            && (now.saturating_sub(*at) >= self.keep_for || entries.by_age.len() >= self.capacity)
        {
            if entries.by_key.get(key).is_some_and(|(current, ..)| current == number) {
                entries.by_key.remove(key);
            }
            entries.by_age.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Bounded<K, V> {
    /// A copy of the value of a key; `None` if nothing is remembered under it.
    pub fn get(&self, key: &K, now: Duration) -> Option<V> {
        let mut entries = self.lock();
        self.forget(&mut entries, now);
        entries.by_key.get(key).map(|(.., value)| value.clone())
    }
}

impl<K: Hash + Eq + Clone, V> Entries<K, V> {
    fn insert(&mut self, key: K, value: V, now: Duration) {
        let number = self.next_number;
        self.next_number += 1;
        self.by_age.push_back((number, now, key.clone()));
        self.by_key.insert(key, (number, now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_is_new_until_it_is_known_and_after_it_is_removed() {
        let memory = Bounded::new(10, SECOND * 60);
        assert!(memory.insert_new("a", (), SECOND));
        assert!(!memory.insert_new("a", (), SECOND));
        assert!(memory.insert_new("b", (), SECOND));
        assert_eq!(memory.remove(&"a", SECOND), Some(()));
        assert!(memory.insert_new("a", (), SECOND * 2));
        assert!(!memory.insert_new("a", (), SECOND * 3));
    }

    #[test]
    fn an_entry_is_forgotten_when_its_time_is_over() {
        let memory = Bounded::new(10, SECOND * 60);
        memory.insert("a", 1, SECOND);
        assert_eq!(memory.get(&"a", SECOND * 60), Some(1));
        assert_eq!(memory.get(&"a", SECOND * 61), None);
        assert!(memory.is_empty());
    }

    #[test]
    fn a_flood_stays_within_the_capacity_and_the_oldest_goes_first() {
        let memory = Bounded::new(100, SECOND * 60);
        for n in 0..10_000 {
            assert!(memory.insert_new(n, (), SECOND));
        }
        assert_eq!(memory.len(), 100);
        assert!(memory.insert_new(0, (), SECOND));
        assert!(!memory.insert_new(9_999, (), SECOND));
    }

    #[test]
    fn an_entry_made_again_is_not_forgotten_with_the_first() {
        let memory = Bounded::new(10, SECOND * 60);
        memory.insert("a", 1, SECOND);
        memory.remove(&"a", SECOND);
        memory.insert("a", 2, SECOND * 30);
        assert_eq!(memory.get(&"a", SECOND * 70), Some(2));
    }

    #[test]
    fn what_is_not_wanted_stays() {
        let memory = Bounded::new(10, SECOND * 60);
        memory.insert("a", 1, SECOND);
        assert_eq!(memory.remove_if(&"a", SECOND, |value| *value == 2), None);
        assert_eq!(memory.remove_if(&"a", SECOND, |value| *value == 1), Some(1));
    }
}
