//! The limit on sign-ins at one provider, shared out among the networks that sign in there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mintgate_domain::model::ProviderId;

use super::network::{Caller, Network};

/// The time in which sign-ins are counted. It begins with a provider's first sign-in.
const PERIOD: Duration = Duration::from_mins(1);
/// How many networks are told apart at one provider in a period.
const MAX_NETWORKS: usize = 16_384;

/// Counts the sign-ins at each provider by network: an IPv4 address or an IPv6 /48, as whoever has one has
/// all its /64.
///
/// As long as the number is not reached, everybody is let in. Then only those are who have had less than
/// their share, which is the number divided by how many networks sign in, and at least one. So nobody who
/// comes late finds that others have used up everything.
#[derive(Debug)]
pub(crate) struct ProviderShares {
    per_minute: u32,
    periods: Mutex<HashMap<ProviderId, Period>>,
}

#[derive(Debug)]
struct Period {
    began: Duration,
    sign_ins: u32,
    by_network: HashMap<Network, u32>,
}

impl ProviderShares {
    /// Shares out so many sign-ins a minute at each provider; 0 allows any number.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute, periods: Mutex::default() }
    }

    /// How many sign-ins are shared out in a minute; 0 for any number.
    pub(crate) fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Takes one of the caller's sign-ins at a configured provider. `now` is monotonic.
    ///
    /// # Errors
    /// How long to wait for one, if its share is used up.
    pub(crate) fn take(
        &self,
        provider: &ProviderId,
        caller: Caller,
        now: Duration,
    ) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let mut periods = self.lock();
        let beginning = || Period { began: now, sign_ins: 0, by_network: HashMap::new() };
        let period = periods.entry(provider.clone()).or_insert_with(beginning);
        if now.saturating_sub(period.began) >= PERIOD {
            *period = beginning();
        }
        if period.take(unit(caller), self.per_minute) {
            Ok(())
        } else {
            Err((period.began + PERIOD).saturating_sub(now))
        }
    }

    /// Gives back what [`take`](Self::take) took, as the provider could not be used.
    pub(crate) fn give_back(&self, provider: &ProviderId, caller: Caller) {
        if let Some(period) = self.lock().get_mut(provider) {
            period.give_back(unit(caller));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProviderId, Period>> {
        self.periods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Period {
    fn take(&mut self, network: Network, most: u32) -> bool {
        let own = self.by_network.get(&network).copied();
        let networks = self.by_network.len() + usize::from(own.is_none());
        let is_countable = networks <= MAX_NETWORKS;
        let share = u32::try_from(networks).map_or(0, |networks| most / networks).max(1);
        let is_let_in = self.sign_ins < most || is_countable && own.unwrap_or_default() < share;
        if is_let_in {
            self.sign_ins = self.sign_ins.saturating_add(1);
            if is_countable {
                *self.by_network.entry(network).or_default() += 1;
            }
        }
        is_let_in
    }

    fn give_back(&mut self, network: Network) {
        if let Some(own) = self.by_network.get_mut(&network) {
            self.sign_ins = self.sign_ins.saturating_sub(1);
            *own -= 1;
            if *own == 0 {
                self.by_network.remove(&network);
            }
        }
    }
}

/// What a caller's sign-ins are counted under.
fn unit(caller: Caller) -> Network {
    caller.site.unwrap_or(caller.network)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const START: Duration = Duration::from_secs(7);

    fn caller(n: u32) -> Caller {
        IpAddr::from(Ipv4Addr::from_bits(n)).into()
    }

    fn corp() -> ProviderId {
        ProviderId::new("corp")
    }

    /// How many of a caller's sign-ins are let in.
    fn let_in(shares: &ProviderShares, caller: Caller, asked: u32) -> usize {
        (0..asked).filter(|_| shares.take(&corp(), caller, START).is_ok()).count()
    }

    #[test]
    fn one_network_uses_up_its_share_and_nobody_elses() {
        let shares = ProviderShares::new(100);
        assert_eq!(let_in(&shares, caller(1), 10_000), 100);
        // Each who comes later has its share: all divided by those who are there.
        assert_eq!(let_in(&shares, caller(2), 10_000), 50);
        assert_eq!(let_in(&shares, caller(3), 10_000), 33);
        assert_eq!(let_in(&shares, caller(1), 10_000), 0);
        let other = ProviderId::new("other");
        assert_eq!(shares.take(&other, caller(1), START), Ok(()), "another provider");
    }

    #[test]
    fn whoever_comes_for_the_first_time_is_let_in_however_many_others_there_are() {
        let shares = ProviderShares::new(100);
        for n in 0..1000 {
            assert!(let_in(&shares, caller(n), 5) >= 1, "{n}");
        }
    }

    #[test]
    fn nobody_is_short_of_what_others_leave() {
        let shares = ProviderShares::new(100);
        for n in 0..50 {
            assert_eq!(let_in(&shares, caller(n), 1), 1);
        }
        assert_eq!(let_in(&shares, caller(50), 60), 50, "far more than a 51st");
    }

    #[test]
    fn the_networks_of_an_ipv6_site_have_one_share() {
        let shares = ProviderShares::new(10);
        let nth = |n: u32| format!("2001:db8:1:{n:x}::1").parse::<IpAddr>().unwrap().into();
        assert_eq!((0..100).filter(|n| let_in(&shares, nth(*n), 1) == 1).count(), 10);
        assert_eq!(let_in(&shares, caller(1), 10), 5);
    }

    #[test]
    fn who_waits_as_long_as_it_is_told_is_let_in() {
        let shares = ProviderShares::new(1);
        assert_eq!(shares.take(&corp(), caller(1), START), Ok(()));
        let later = START + Duration::from_secs(20);
        assert_eq!(shares.take(&corp(), caller(1), later), Err(Duration::from_secs(40)));
        assert_eq!(shares.take(&corp(), caller(1), START + PERIOD), Ok(()));
    }

    #[test]
    fn what_a_provider_could_not_be_used_for_is_given_back() {
        let shares = ProviderShares::new(2);
        for _ in 0..100 {
            assert_eq!(let_in(&shares, caller(1), 1), 1);
            shares.give_back(&corp(), caller(1));
        }
        shares.give_back(&corp(), caller(1));
        assert_eq!(let_in(&shares, caller(1), 10), 2);
        assert_eq!(let_in(&shares, caller(2), 10), 1);
    }

    #[test]
    fn the_number_of_networks_is_bounded() {
        let shares = ProviderShares::new(10);
        let networks = u32::try_from(MAX_NETWORKS).unwrap();
        assert!((0..networks).all(|n| let_in(&shares, caller(n), 1) == 1));
        assert_eq!(let_in(&shares, caller(networks), 1), 0);
        assert_eq!(shares.lock()[&corp()].by_network.len(), MAX_NETWORKS);
    }

    #[test]
    fn nothing_is_limited_where_any_number_is_allowed() {
        let shares = ProviderShares::new(0);
        assert_eq!(let_in(&shares, caller(1), 10_000), 10_000);
        assert!(shares.lock().is_empty());
    }
}
