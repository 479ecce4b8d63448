//! An allowance for each of many keys, in bounded memory.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use mintgate_domain::memory::Bounded;
use mintgate_domain::ports::Clock;

/// How many keys an allowance knows at once: a few megabytes. The one known for longest is forgotten
/// first, and then has its whole allowance again.
const MAX_KEYS: usize = 16_384;
/// How long a key is known at most.
const KEPT_FOR: Duration = Duration::from_mins(10);

/// A number of requests a minute for each key, which may come all at once: after that, each has to wait
/// until its share of the minute is over (the generic cell rate algorithm).
pub(crate) struct Allowance<K> {
    quota: Option<Quota>,
    buckets: Bounded<K, Arc<Bucket>>,
    clock: Monotonic,
}

struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>,
    /// The requests that were given back and not taken again.
    given_back: AtomicU32,
}

/// The service's monotonic clock.
#[derive(Clone)]
struct Monotonic(Arc<dyn Clock>);

impl GovernorClock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

impl<K: Hash + Eq + Clone> Allowance<K> {
    /// Allows each key so many requests a minute; 0 allows any number.
    pub(crate) fn new(per_minute: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            quota: NonZeroU32::new(per_minute).map(Quota::per_minute),
            buckets: Bounded::new(MAX_KEYS, KEPT_FOR),
            clock: Monotonic(clock),
        }
    }

    /// Takes one of a key's requests.
    ///
    /// # Errors
    /// How long to wait for one, if none is left.
    pub(crate) fn take(&self, key: &K) -> Result<(), Duration> {
        let Some(quota) = self.quota else { return Ok(()) };
        let now = self.clock.now();
        let bucket = self.buckets.get(key, now).unwrap_or_else(|| {
            let limiter = RateLimiter::direct_with_clock(quota, self.clock.clone());
            let new = Arc::new(Bucket { limiter, given_back: AtomicU32::new(0) });
            if self.buckets.insert_new(key.clone(), Arc::clone(&new), now) {
                return new;
            }
            self.buckets.get(key, now).unwrap_or(new)
        });
        let one_less = |given_back: u32| given_back.checked_sub(1);
        bucket.limiter.check().or_else(|none_left| {
            let taken = bucket.given_back.fetch_update(Relaxed, Relaxed, one_less);
            taken.map(drop).map_err(|_| none_left.wait_time_from(now))
        })
    }

    /// Gives back one of a key's requests, which it can take again at any time.
    pub(crate) fn give_back(&self, key: &K) {
        let Some(quota) = self.quota else { return };
        if let Some(bucket) = self.buckets.get(key, self.clock.now()) {
            let one_more =
                |given_back: u32| (given_back < quota.burst_size().get()).then_some(given_back + 1);
            let _ = bucket.given_back.fetch_update(Relaxed, Relaxed, one_more);
        }
    }
}

impl<K> fmt::Debug for Allowance<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowance").field("quota", &self.quota).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mintgate_testkit::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::default())
    }

    #[test]
    fn a_minutes_requests_may_come_at_once_and_then_one_for_each_share_of_the_minute() {
        let clock = clock();
        let allowance = Allowance::new(6, clock.clone());
        for _ in 0..6 {
            assert_eq!(allowance.take(&"ada"), Ok(()));
        }
        assert_eq!(allowance.take(&"ada"), Err(SECOND * 10));
        assert_eq!(allowance.take(&"bob"), Ok(()), "somebody else's allowance");
        clock.advance(Duration::from_millis(9_400));
        assert_eq!(allowance.take(&"ada"), Err(Duration::from_millis(600)));
        clock.advance(Duration::from_millis(600));
        assert_eq!(allowance.take(&"ada"), Ok(()));
        assert_eq!(allowance.take(&"ada"), Err(SECOND * 10));
        clock.advance(SECOND * 60);
        assert_eq!((0..9).filter(|_| allowance.take(&"ada").is_ok()).count(), 6);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_at_any_time() {
        let allowance = Allowance::new(2, clock());
        for _ in 0..10 {
            assert_eq!(allowance.take(&"ada"), Ok(()));
            allowance.give_back(&"ada");
        }
        assert_eq!((0..9).filter(|_| allowance.take(&"ada").is_ok()).count(), 2);
        (0..9).for_each(|_| allowance.give_back(&"ada"));
        assert_eq!((0..9).filter(|_| allowance.take(&"ada").is_ok()).count(), 2);
        allowance.give_back(&"bob");
        assert_eq!((0..9).filter(|_| allowance.take(&"bob").is_ok()).count(), 2);
    }

    #[test]
    fn nothing_is_limited_where_any_number_is_allowed() {
        let allowance = Allowance::new(0, clock());
        assert!((0..10_000).all(|_| allowance.take(&"ada").is_ok()));
        assert!(allowance.buckets.is_empty());
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let allowance = Allowance::new(1, clock());
        assert!((0..100_000).all(|key| allowance.take(&key).is_ok()));
        assert_eq!(allowance.buckets.len(), MAX_KEYS);
        assert_eq!(allowance.take(&99_999), Err(SECOND * 60), "the latest are known");
    }
}
