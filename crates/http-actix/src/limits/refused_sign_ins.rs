//! The limit on how many sign-ins of one caller may be refused: each asks a provider or verifies a
//! signature, and only who guesses has many refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use mintgate_domain::memory::Bounded;

use super::network::{Caller, NETWORKS_OF_A_SITE, Network};

/// The time in which refusals are counted. It begins with a caller's first refusal.
const PERIOD: Duration = Duration::from_mins(1);
/// How many networks are counted at once: a few megabytes. The one counted for longest is forgotten
/// first.
const MAX_NETWORKS: usize = 65_536;

/// Counts refused sign-ins by caller, and by IPv6 site, in this process alone.
#[derive(Debug)]
pub(crate) struct RefusedSignIns {
    /// How many refusals a caller may have in a minute; 0 for any number.
    most: u32,
    counts: Bounded<Network, Arc<Count>>,
}

#[derive(Debug)]
struct Count {
    began: Duration,
    refused: AtomicU32,
}

impl RefusedSignIns {
    /// Allows `most` refusals of a caller in a minute; 0 allows any number.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, counts: Bounded::new(MAX_NETWORKS, PERIOD) }
    }

    /// How many refusals a caller may have in a minute; 0 for any number.
    pub(crate) fn per_minute(&self) -> u32 {
        self.most
    }

    /// How long this caller has to wait, if it has to. `now` is monotonic.
    pub(crate) fn wait(&self, caller: Caller, now: Duration) -> Option<Duration> {
        let wait_of = |network: Network, most: u32| {
            let count = self.counts.get(&network, now)?;
            (count.refused.load(Relaxed) >= most)
                .then(|| (count.began + PERIOD).saturating_sub(now))
        };
        if self.most == 0 {
            return None;
        }
        let of_site = || wait_of(caller.site?, self.most.saturating_mul(NETWORKS_OF_A_SITE));
        wait_of(caller.network, self.most).or_else(of_site)
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, caller: Caller, now: Duration) {
        if self.most == 0 {
            return;
        }
        for network in std::iter::once(caller.network).chain(caller.site) {
            let first = || Arc::new(Count { began: now, refused: AtomicU32::new(1) });
            match self.counts.get(&network, now) {
                Some(count) => _ = count.refused.fetch_add(1, Relaxed),
                None => self.counts.insert(network, first(), now),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn caller(address: &str) -> Caller {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_caller_waits_until_a_minute_after_its_first_refusal() {
        let (limit, ada) = (RefusedSignIns::new(2), caller("192.0.2.1"));
        limit.count(ada, SECOND * 10);
        assert_eq!(limit.wait(ada, SECOND * 10), None);
        limit.count(ada, SECOND * 30);
        assert_eq!(limit.wait(ada, SECOND * 31), Some(SECOND * 39));
        assert_eq!(limit.wait(caller("192.0.2.2"), SECOND * 31), None);
        assert_eq!(limit.wait(ada, SECOND * 70), None);
        limit.count(ada, SECOND * 70);
        assert_eq!(limit.wait(ada, SECOND * 70), None);
    }

    #[test]
    fn the_networks_of_an_ipv6_site_are_counted_together_as_well() {
        let limit = RefusedSignIns::new(2);
        let nth = |n: u32| caller(&format!("2001:db8:1:{n:x}::1"));
        (0..31).for_each(|n| limit.count(nth(n), SECOND));
        assert_eq!(limit.wait(nth(31), SECOND), None);
        limit.count(nth(31), SECOND);
        assert_eq!(limit.wait(nth(32), SECOND), Some(PERIOD));
        assert_eq!(limit.wait(caller("2001:db8:2::1"), SECOND), None);
    }

    #[test]
    fn the_number_of_networks_is_bounded() {
        let limit = RefusedSignIns::new(1);
        let nth = |n: usize| IpAddr::from(Ipv6Addr::from_bits((n as u128) << 64)).into();
        (0..2 * MAX_NETWORKS).for_each(|n| limit.count(nth(n), SECOND));
        assert_eq!(limit.counts.len(), MAX_NETWORKS);
        assert_eq!(limit.wait(nth(2 * MAX_NETWORKS - 1), SECOND), Some(PERIOD));
    }
}
