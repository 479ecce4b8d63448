//! What this process has counted and has not told the other processes on its store yet.

use std::sync::atomic::{AtomicI32, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mintgate_domain::model::{CountKey, SharedCount};

use super::nanos::{MINUTE, Nanos, age};

/// What is less than this share of a minute's number within a minute is not told: one in so many. So most
/// callers are never told of, and what stays untold of a key is little.
const SHARE_TOLD: u32 = 20;
/// How many keys of one limit wait to be told at most.
const MAX_WAITING: usize = 16_384;
/// The time between two exchanges.
pub(crate) const EXCHANGE_EVERY: Duration = Duration::from_secs(1);

/// From what count on a key is told, where it may have `most` a minute.
pub(crate) fn worth_telling(most: u32) -> u32 {
    most.div_ceil(SHARE_TOLD).max(1)
}

/// A count to be told, and how large a share of its number it is, in millionths.
pub(crate) struct ToTell {
    pub(crate) share: u64,
    pub(crate) count: SharedCount,
}

impl ToTell {
    /// Names a count that is there, of a key that may have `most` a minute.
    pub(crate) fn new(limit: &str, key: CountKey, count: i32, most: u32, age: Duration) -> Self {
        let share = u64::from(count.unsigned_abs()) * 1_000_000 / u64::from(most.max(1));
        Self { share, count: SharedCount { limit: limit.to_owned(), key, count, age } }
    }
}

/// What was counted for one key in the present minute and is not told.
#[derive(Debug)]
pub(crate) struct Untold {
    count: AtomicI32,
    since: AtomicI64,
}

impl Untold {
    /// Nothing so far.
    pub(crate) fn new(now: Nanos) -> Self {
        Self { count: AtomicI32::new(0), since: AtomicI64::new(now) }
    }

    /// Adds to it; whether it has become worth telling by that.
    fn add(&self, more: i32, most: u32, now: Nanos) -> bool {
        if now - self.since.load(Relaxed) >= MINUTE {
            self.count.store(0, Relaxed);
            self.since.store(now, Relaxed);
        }
        let before = self.count.fetch_add(more, Relaxed);
        let is_worth = |count: i32| count.unsigned_abs() >= worth_telling(most);
        !is_worth(before) && is_worth(before.wrapping_add(more))
    }

    /// What it was until now, and how old; it begins anew.
    fn take(&self, now: Nanos) -> (i32, Duration) {
        (self.count.swap(0, Relaxed), age(self.since.swap(now, Relaxed), now))
    }
}

/// Something that is counted for a key.
pub(crate) trait Counted {
    /// What is not told of it.
    fn untold(&self) -> &Untold;

    /// How many a minute the key may have.
    fn most(&self) -> u32;

    /// How long ago the untold requests are to have come, of which the first is as old as this.
    fn told_age(&self, untold_for: Duration, now: Nanos) -> Duration;
}

/// The keys of one limit that are worth telling.
#[derive(Debug)]
pub(crate) struct Outbox<T>(Mutex<Vec<(CountKey, Arc<T>)>>);

impl<T: Counted> Outbox<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Notes so many requests of a key, fewer than none if they were given back.
    pub(crate) fn note(&self, key: CountKey, counted: &Arc<T>, more: i32, now: Nanos) {
        if counted.untold().add(more, counted.most(), now) {
            let mut waiting = self.lock();
            if waiting.len() < MAX_WAITING {
                waiting.push((key, Arc::clone(counted)));
            }
        }
    }

    /// Takes out everything that is worth telling.
    pub(crate) fn drain(&self, limit: &str, now: Nanos, out: &mut Vec<ToTell>) {
        let waiting = std::mem::take(&mut *self.lock());
        for (key, counted) in waiting {
            let (count, untold_for) = counted.untold().take(now);
            let age = counted.told_age(untold_for, now);
            if count != 0 {
                out.push(ToTell::new(limit, key, count, counted.most(), age));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(CountKey, Arc<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
