//! The limit on how many sign-ins of one caller may be refused: each asks a provider or verifies a
//! signature, and only who guesses has many refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use mintgate_domain::memory::Bounded;
use mintgate_domain::model::{CountKey, SharedCount};

use super::nanos::{MINUTE, Nanos, age, nanos, span};
use super::network::{Caller, NETWORKS_OF_A_SITE};
use super::untold::{Counted, Outbox, ToTell, Untold};

/// The time in which refusals are counted. It begins with a caller's first refusal.
const PERIOD: Duration = Duration::from_mins(1);
/// How many networks are counted at once: a few megabytes. The one counted for longest is forgotten
/// first.
const MAX_NETWORKS: usize = 65_536;

/// Counts refused sign-ins by caller, and by IPv6 site.
#[derive(Debug)]
pub(crate) struct RefusedSignIns {
    /// How many refusals a caller may have in a minute; 0 for any number.
    most: u32,
    counts: Bounded<CountKey, Arc<Count>>,
    /// Where the other processes on the store are told.
    outbox: Option<Outbox<Count>>,
}

#[derive(Debug)]
struct Count {
    began: AtomicI64,
    refused: AtomicU32,
    most: u32,
    untold: Untold,
}

impl Counted for Count {
    fn untold(&self) -> &Untold {
        &self.untold
    }

    fn most(&self) -> u32 {
        self.most
    }

    /// Since the first refusal, whoever counted it: so the period ends at the same time everywhere.
    fn told_age(&self, _: Duration, now: Nanos) -> Duration {
        age(self.began.load(Relaxed), now)
    }
}

impl RefusedSignIns {
    /// Allows `most` refusals of a caller in a minute; 0 allows any number. If `is_shared`, the other
    /// processes on the store are to be told.
    pub(crate) fn new(most: u32, is_shared: bool) -> Self {
        let counts = Bounded::new(MAX_NETWORKS, PERIOD);
        Self { most, counts, outbox: is_shared.then(Outbox::new) }
    }

    /// How many refusals a caller may have in a minute; 0 for any number.
    pub(crate) fn per_minute(&self) -> u32 {
        self.most
    }

    /// How long this caller has to wait, if it has to. `now` is monotonic.
    pub(crate) fn wait(&self, caller: Caller, now: Duration) -> Option<Duration> {
        let wait_of = |key: CountKey, most: u32| {
            let count = self.current(key, now)?;
            let ends = count.began.load(Relaxed) + MINUTE;
            (count.refused.load(Relaxed) >= most).then(|| span(ends - nanos(now)))
        };
        if self.most == 0 {
            return None;
        }
        let of_site = || wait_of(caller.site?, self.most_of_site());
        wait_of(caller.network, self.most).or_else(of_site)
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, caller: Caller, now: Duration) {
        if self.most == 0 {
            return;
        }
        let site = caller.site.map(|site| (site, self.most_of_site()));
        for (key, most) in std::iter::once((caller.network, self.most)).chain(site) {
            let count = self.current_or_new(key, most, Duration::ZERO, now);
            count.refused.fetch_add(1, Relaxed);
            if let Some(outbox) = &self.outbox {
                outbox.note(key, &count, 1, nanos(now));
            }
        }
    }

    /// Takes out what the other processes are to be told under this name.
    pub(crate) fn untold(&self, name: &str, now: Duration, out: &mut Vec<ToTell>) {
        if let Some(outbox) = &self.outbox {
            outbox.drain(name, nanos(now), out);
        }
    }

    /// Counts what another process says that it has counted.
    pub(crate) fn charge(&self, told: &SharedCount, now: Duration) {
        let Ok(refused) = u32::try_from(told.count) else { return };
        if self.most == 0 || told.age >= PERIOD {
            return;
        }
        // Of a site it may be less than this number of the most, and is told a little more often.
        let count = self.current_or_new(told.key, self.most, told.age, now);
        count.began.fetch_min(nanos(now) - nanos(told.age), Relaxed);
        let _ =
            count.refused.fetch_update(Relaxed, Relaxed, |one| Some(one.saturating_add(refused)));
    }

    fn most_of_site(&self) -> u32 {
        self.most.saturating_mul(NETWORKS_OF_A_SITE)
    }

    /// What is counted of a key in its present period.
    fn current(&self, key: CountKey, now: Duration) -> Option<Arc<Count>> {
        let count = self.counts.get(&key, now)?;
        (nanos(now) - count.began.load(Relaxed) < MINUTE).then_some(count)
    }

    /// The same, or a count in a period that began so long ago.
    fn current_or_new(&self, key: CountKey, most: u32, ago: Duration, now: Duration) -> Arc<Count> {
        self.current(key, now).unwrap_or_else(|| {
            let began = AtomicI64::new(nanos(now) - nanos(ago));
            let (refused, untold) = (AtomicU32::new(0), Untold::new(nanos(now)));
            let new = Arc::new(Count { began, refused, most, untold });
            self.counts.insert(key, Arc::clone(&new), now);
            new
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::super::network::Naming;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(address: IpAddr) -> Caller {
        Naming(None).caller(address)
    }

    fn caller(address: &str) -> Caller {
        at(address.parse().unwrap())
    }

    fn untold(limit: &RefusedSignIns, now: Duration) -> Vec<SharedCount> {
        let mut out = vec![];
        limit.untold("refused_sign_ins", now, &mut out);
        out.into_iter().map(|one| one.count).collect()
    }

    #[test]
    fn a_caller_waits_until_a_minute_after_its_first_refusal() {
        let (limit, ada) = (RefusedSignIns::new(2, false), caller("192.0.2.1"));
        limit.count(ada, SECOND * 10);
        assert_eq!(limit.wait(ada, SECOND * 10), None);
        limit.count(ada, SECOND * 30);
        assert_eq!(limit.wait(ada, SECOND * 31), Some(SECOND * 39));
        assert_eq!(limit.wait(caller("192.0.2.2"), SECOND * 31), None);
        assert_eq!(limit.wait(ada, SECOND * 70), None);
        limit.count(ada, SECOND * 70);
        assert_eq!(limit.wait(ada, SECOND * 70), None);
        assert_eq!(untold(&limit, SECOND * 70), []);
    }

    #[test]
    fn the_networks_of_an_ipv6_site_are_counted_together_as_well() {
        let limit = RefusedSignIns::new(2, false);
        let nth = |n: u32| caller(&format!("2001:db8:1:{n:x}::1"));
        (0..31).for_each(|n| limit.count(nth(n), SECOND));
        assert_eq!(limit.wait(nth(31), SECOND), None);
        limit.count(nth(31), SECOND);
        assert_eq!(limit.wait(nth(32), SECOND), Some(PERIOD));
        assert_eq!(limit.wait(caller("2001:db8:2::1"), SECOND), None);
    }

    #[test]
    fn the_number_of_networks_is_bounded() {
        let limit = RefusedSignIns::new(1, false);
        let nth = |n: usize| at(Ipv6Addr::from_bits((n as u128) << 64).into());
        (0..2 * MAX_NETWORKS).for_each(|n| limit.count(nth(n), SECOND));
        assert_eq!(limit.counts.len(), MAX_NETWORKS);
        assert_eq!(limit.wait(nth(2 * MAX_NETWORKS - 1), SECOND), Some(PERIOD));
    }

    #[test]
    fn what_other_processes_counted_is_added_and_the_period_ends_at_the_same_time() {
        let [here, there] = [(); 2].map(|()| RefusedSignIns::new(60, true));
        let (ada, start) = (caller("192.0.2.1"), SECOND * 100);
        (0..2).for_each(|_| there.count(ada, start));
        assert_eq!(untold(&there, start), [], "less than a twentieth");
        (0..38).for_each(|_| there.count(ada, start + SECOND * 20));
        let told = untold(&there, start + SECOND * 20);
        assert_eq!(told[..], [SharedCount { age: SECOND * 20, count: 40, ..told[0].clone() }]);
        (0..20).for_each(|_| here.count(ada, start + SECOND * 10));
        assert_eq!(here.wait(ada, start + SECOND * 21), None);
        here.charge(&told[0], start + SECOND * 20);
        assert_eq!(here.wait(ada, start + SECOND * 21), Some(SECOND * 39));
        assert_eq!(here.wait(caller("192.0.2.2"), start + SECOND * 21), None);
        assert_eq!(here.wait(ada, start + PERIOD), None);
        here.count(ada, start + PERIOD);
        assert_eq!(here.wait(ada, start + PERIOD), None, "a new period");
        // Of a period that is over, it comes too late, and does not end the present one.
        (0..59).for_each(|_| here.count(ada, start + PERIOD));
        here.charge(&SharedCount { age: PERIOD, ..told[0].clone() }, start + PERIOD);
        assert_eq!(here.wait(ada, start + PERIOD), Some(PERIOD));
    }

    #[test]
    fn a_process_that_has_just_begun_learns_who_has_to_wait() {
        let limit = RefusedSignIns::new(2, true);
        let ada = caller("192.0.2.1");
        let told =
            SharedCount { limit: String::new(), key: ada.network, count: 2, age: SECOND * 50 };
        limit.charge(&told, SECOND);
        assert_eq!(limit.wait(ada, SECOND), Some(SECOND * 10));
    }
}
