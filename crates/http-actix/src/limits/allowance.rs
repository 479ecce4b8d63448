//! An allowance for each of many keys, in bounded memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use mintgate_domain::memory::Bounded;
use mintgate_domain::model::{CountKey, SharedCount};
use mintgate_domain::ports::Clock;

use super::nanos::{MINUTE, Nanos, nanos, span};
use super::untold::{Counted, EXCHANGE_EVERY, Outbox, ToTell, Untold};

/// How many keys an allowance knows at once: a few megabytes. The one known for longest is forgotten
/// first, and then has its whole allowance again.
const MAX_KEYS: usize = 16_384;
/// How long a key is known at most.
const KEPT_FOR: Duration = Duration::from_mins(10);

/// A number of requests a minute for each key, which may come all at once: after that, each has to wait
/// until its share of the minute is over (the generic cell rate algorithm).
pub(crate) struct Allowance {
    per_minute: u32,
    /// The share of the minute that one request uses up.
    share: Nanos,
    buckets: Bounded<CountKey, Arc<Bucket>>,
    /// Where the other processes on the store are told.
    outbox: Option<Outbox<Bucket>>,
    clock: Arc<dyn Clock>,
}

struct Bucket {
    /// When the whole allowance is there again, if nothing more is taken. The other processes may have taken
    /// more than there was: then it is more than a minute from now, and two minutes at most.
    whole_at: AtomicI64,
    per_minute: u32,
    untold: Untold,
}

impl Counted for Bucket {
    fn untold(&self) -> &Untold {
        &self.untold
    }

    fn most(&self) -> u32 {
        self.per_minute
    }

    /// Since the last exchange. If the first came long before, and most of them just now, they must not seem
    /// to be due again.
    fn told_age(&self, untold_for: Duration, _: Nanos) -> Duration {
        untold_for.min(EXCHANGE_EVERY)
    }
}

impl Allowance {
    /// Allows each key so many requests a minute; 0 allows any number. If `is_shared`, the other processes on
    /// the store are to be told.
    pub(crate) fn new(per_minute: u32, is_shared: bool, clock: Arc<dyn Clock>) -> Self {
        Self {
            per_minute,
            share: MINUTE / i64::from(per_minute.max(1)),
            buckets: Bounded::new(MAX_KEYS, KEPT_FOR),
            outbox: is_shared.then(Outbox::new),
            clock,
        }
    }

    /// Takes one of a key's requests.
    ///
    /// # Errors
    /// How long to wait for one, if none is left.
    pub(crate) fn take(&self, key: CountKey) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let now = nanos(self.clock.monotonic());
        let bucket = self.bucket(key);
        let latest = now + self.most();
        let one_more = |whole_at: Nanos| {
            let whole_at = whole_at.max(now) + self.share;
            (whole_at <= latest).then_some(whole_at)
        };
        let taken = bucket.whole_at.fetch_update(Relaxed, Relaxed, one_more);
        taken.map_err(|whole_at| span(whole_at + self.share - latest))?;
        self.note(key, &bucket, 1, now);
        Ok(())
    }

    /// Gives back one of a key's requests.
    pub(crate) fn give_back(&self, key: CountKey) {
        if let Some(bucket) = self.buckets.get(&key, self.clock.monotonic()) {
            bucket.whole_at.fetch_sub(self.share, Relaxed);
            self.note(key, &bucket, -1, nanos(self.clock.monotonic()));
        }
    }

    /// Takes what another process says that it has counted, also what is not left.
    pub(crate) fn charge(&self, told: &SharedCount) {
        if self.per_minute == 0 {
            return;
        }
        let now = nanos(self.clock.monotonic());
        let (began, latest) = (now - nanos(told.age), now + 2 * self.most());
        let used = self.share.saturating_mul(told.count.into());
        let charged = |whole_at: Nanos| Some(whole_at.max(began).saturating_add(used).min(latest));
        let _ = self.bucket(told.key).whole_at.fetch_update(Relaxed, Relaxed, charged);
    }

    /// Takes out what the other processes are to be told under this name.
    pub(crate) fn untold(&self, name: &str, out: &mut Vec<ToTell>) {
        if let Some(outbox) = &self.outbox {
            outbox.drain(name, nanos(self.clock.monotonic()), out);
        }
    }

    /// What a whole allowance is, as time.
    fn most(&self) -> Nanos {
        self.share * i64::from(self.per_minute)
    }

    fn note(&self, key: CountKey, bucket: &Arc<Bucket>, more: i32, now: Nanos) {
        if let Some(outbox) = &self.outbox {
            outbox.note(key, bucket, more, now);
        }
    }

    fn bucket(&self, key: CountKey) -> Arc<Bucket> {
        let now = self.clock.monotonic();
        self.buckets.get(&key, now).unwrap_or_else(|| {
            // Whole since long ago: what another process counted before may still be due.
            let new = Arc::new(Bucket {
                whole_at: AtomicI64::new(nanos(now) - 2 * MINUTE),
                per_minute: self.per_minute,
                untold: Untold::new(nanos(now)),
            });
            if self.buckets.insert_new(key, Arc::clone(&new), now) {
                return new;
            }
            self.buckets.get(&key, now).unwrap_or(new)
        })
    }
}

impl fmt::Debug for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowance").field("per_minute", &self.per_minute).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mintgate_testkit::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ADA: CountKey = CountKey([1; 16]);
    const BOB: CountKey = CountKey([2; 16]);

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::default())
    }

    /// How many of so many a key gets.
    fn got(allowance: &Allowance, key: CountKey, asked: u32) -> usize {
        (0..asked).filter(|_| allowance.take(key).is_ok()).count()
    }

    fn told(count: i32, age: Duration) -> SharedCount {
        SharedCount { limit: "logins".to_owned(), key: ADA, count, age }
    }

    fn untold(allowance: &Allowance) -> Vec<SharedCount> {
        let mut out = vec![];
        allowance.untold("logins", &mut out);
        out.into_iter().map(|one| one.count).collect()
    }

    #[test]
    fn a_minutes_requests_may_come_at_once_and_then_one_for_each_share_of_the_minute() {
        let clock = clock();
        let allowance = Allowance::new(6, false, clock.clone());
        for _ in 0..6 {
            assert_eq!(allowance.take(ADA), Ok(()));
        }
        assert_eq!(allowance.take(ADA), Err(SECOND * 10));
        assert_eq!(allowance.take(BOB), Ok(()), "somebody else's allowance");
        clock.advance(Duration::from_millis(9_400));
        assert_eq!(allowance.take(ADA), Err(Duration::from_millis(600)));
        clock.advance(Duration::from_millis(600));
        assert_eq!(allowance.take(ADA), Ok(()));
        assert_eq!(allowance.take(ADA), Err(SECOND * 10));
        clock.advance(SECOND * 60);
        assert_eq!(got(&allowance, ADA, 9), 6);
        assert!(untold(&allowance).is_empty());
    }

    #[test]
    fn a_number_that_does_not_divide_the_minute_is_that_number() {
        for per_minute in [7, 11, 999_999] {
            let allowance = Allowance::new(per_minute, false, clock());
            assert_eq!(got(&allowance, ADA, per_minute + 2), per_minute as usize);
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_at_any_time() {
        let allowance = Allowance::new(2, false, clock());
        for _ in 0..10 {
            assert_eq!(allowance.take(ADA), Ok(()));
            allowance.give_back(ADA);
        }
        assert_eq!(got(&allowance, ADA, 9), 2);
        (0..9).for_each(|_| allowance.give_back(ADA));
        assert_eq!(got(&allowance, ADA, 9), 2);
        allowance.give_back(BOB);
        assert_eq!(got(&allowance, BOB, 9), 2);
    }

    #[test]
    fn nothing_is_limited_where_any_number_is_allowed() {
        let allowance = Allowance::new(0, true, clock());
        assert_eq!(got(&allowance, ADA, 10_000), 10_000);
        allowance.charge(&told(100, SECOND));
        assert!(allowance.buckets.is_empty());
        assert!(untold(&allowance).is_empty());
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let allowance = Allowance::new(1, true, clock());
        let key = |n: u128| CountKey(n.to_be_bytes());
        assert!((0..100_000).all(|n| allowance.take(key(n)).is_ok()));
        assert_eq!(allowance.buckets.len(), MAX_KEYS);
        assert_eq!(allowance.take(key(99_999)), Err(SECOND * 60), "the latest are known");
        assert_eq!(untold(&allowance).len(), 16_384);
    }

    #[test]
    fn what_other_processes_counted_is_used_up_here_too() {
        let clock = clock();
        let allowance = Allowance::new(60, true, clock.clone());
        allowance.charge(&told(50, Duration::ZERO));
        assert_eq!(got(&allowance, ADA, 60), 10);
        assert_eq!(got(&allowance, BOB, 99), 60, "somebody else");
        // More than there was: as much longer the key waits.
        allowance.charge(&told(30, Duration::ZERO));
        assert_eq!(allowance.take(ADA), Err(SECOND * 31));
        clock.advance(SECOND * 31);
        assert_eq!(allowance.take(ADA), Ok(()));
        // But never longer than a minute.
        allowance.charge(&told(i32::MAX, Duration::ZERO));
        assert_eq!(allowance.take(ADA), Err(SECOND * 61));
        allowance.charge(&told(i32::MIN, Duration::ZERO));
        assert_eq!(got(&allowance, ADA, 99), 60);
    }

    #[test]
    fn what_was_counted_a_while_ago_is_partly_due_again_also_before_this_process_began() {
        let allowance = Allowance::new(60, true, clock());
        allowance.charge(&told(60, SECOND * 50));
        assert_eq!(got(&allowance, ADA, 99), 50);
    }

    #[test]
    fn a_key_is_told_of_when_it_has_used_a_twentieth_within_a_minute() {
        let clock = clock();
        let allowance = Allowance::new(60, true, clock.clone());
        assert_eq!(got(&allowance, ADA, 2), 2);
        assert_eq!(untold(&allowance), []);
        clock.advance(SECOND * 30);
        assert_eq!(got(&allowance, ADA, 8), 8);
        assert_eq!(untold(&allowance), [told(10, SECOND)]);
        assert_eq!(untold(&allowance), [], "told once");
        assert_eq!(got(&allowance, ADA, 2), 2);
        clock.advance(SECOND * 60);
        assert_eq!(got(&allowance, ADA, 2), 2);
        assert_eq!(untold(&allowance), [], "what was a minute ago does not matter");
        (0..4).for_each(|_| allowance.give_back(ADA));
        assert_eq!(untold(&allowance), []);
        allowance.give_back(ADA);
        assert_eq!(untold(&allowance), [told(-3, Duration::ZERO)]);
        // What others counted is not told again.
        allowance.charge(&told(50, SECOND));
        assert_eq!(untold(&allowance), []);
    }
}
