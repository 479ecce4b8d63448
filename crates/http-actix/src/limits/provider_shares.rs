//! The limit on sign-ins at one provider, shared out among the networks that sign in there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mintgate_domain::model::{CountKey, ProviderId, SharedCount};

use super::nanos::{MINUTE, Nanos, age, nanos, span};
use super::network::Caller;
use super::untold::{ToTell, worth_telling};

/// The time in which sign-ins are counted. It begins with a provider's first sign-in.
const PERIOD: Nanos = MINUTE;
/// How many networks are told apart at one provider in a period.
const MAX_NETWORKS: usize = 16_384;
/// How many providers another process may tell of.
const MAX_PROVIDERS: usize = 1024;

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
    began: Nanos,
    sign_ins: Count,
    by_network: HashMap<CountKey, Count>,
}

/// How many there were, and how many of them only this process knows of.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: u32,
    untold: i32,
}

impl Count {
    fn add(&mut self, more: i32) {
        self.all = self.all.saturating_add_signed(more);
        self.untold = self.untold.saturating_add(more);
    }
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
        let now = nanos(now);
        let mut periods = self.lock();
        let period = current(&mut periods, provider, now, now);
        if period.take(unit(caller), self.per_minute) {
            Ok(())
        } else {
            Err(span(period.began + PERIOD - now))
        }
    }

    /// Gives back what [`take`](Self::take) took, as the provider could not be used.
    pub(crate) fn give_back(&self, provider: &ProviderId, caller: Caller) {
        if let Some(period) = self.lock().get_mut(provider) {
            period.give_back(unit(caller));
        }
    }

    /// Takes out what the other processes are to be told: of each provider, under the name of this limit and
    /// the provider's, the number of all networks and those of the networks with most.
    pub(crate) fn untold(&self, name: &str, now: Duration, out: &mut Vec<ToTell>) {
        let (now, most) = (nanos(now), self.per_minute);
        for (provider, period) in &mut *self.lock() {
            if now - period.began >= PERIOD {
                continue;
            }
            let (limit, age) = (format!("{name} {provider}"), age(period.began, now));
            let all = std::iter::once((&CountKey::ALL, &mut period.sign_ins));
            for (key, count) in all.chain(&mut period.by_network) {
                if count.untold.unsigned_abs() >= worth_telling(most) {
                    let untold = std::mem::take(&mut count.untold);
                    out.push(ToTell::new(&limit, *key, untold, most, age));
                }
            }
        }
    }

    /// Counts what another process says that it has counted at a provider.
    pub(crate) fn charge(&self, provider: &str, told: &SharedCount, now: Duration) {
        let (now, age) = (nanos(now), nanos(told.age));
        if self.per_minute == 0 || age >= PERIOD {
            return;
        }
        let (provider, mut periods) = (ProviderId::new(provider), self.lock());
        if periods.len() >= MAX_PROVIDERS && !periods.contains_key(&provider) {
            return;
        }
        let period = current(&mut periods, &provider, now - age, now);
        period.began = period.began.min(now - age);
        if told.key == CountKey::ALL {
            period.sign_ins.all = period.sign_ins.all.saturating_add_signed(told.count);
        } else if period.by_network.len() < MAX_NETWORKS
            || period.by_network.contains_key(&told.key)
        {
            let of_network = period.by_network.entry(told.key).or_default();
            of_network.all = of_network.all.saturating_add_signed(told.count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProviderId, Period>> {
        self.periods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The provider's present period; if there is none, one that began then.
fn current<'a>(
    periods: &'a mut HashMap<ProviderId, Period>,
    provider: &ProviderId,
    began: Nanos,
    now: Nanos,
) -> &'a mut Period {
    let beginning = || Period { began, sign_ins: Count::default(), by_network: HashMap::new() };
    let period = periods.entry(provider.clone()).or_insert_with(beginning);
    if now - period.began >= PERIOD {
        *period = beginning();
    }
    period
}

impl Period {
    fn take(&mut self, network: CountKey, most: u32) -> bool {
        let own = self.by_network.get(&network).map(|count| count.all);
        let networks = self.by_network.len() + usize::from(own.is_none());
        let is_countable = networks <= MAX_NETWORKS;
        let share = u32::try_from(networks).map_or(0, |networks| most / networks).max(1);
        let is_let_in = self.sign_ins.all < most || is_countable && own.unwrap_or_default() < share;
        if is_let_in {
            self.sign_ins.add(1);
            if is_countable {
                self.by_network.entry(network).or_default().add(1);
            }
        }
        is_let_in
    }

    fn give_back(&mut self, network: CountKey) {
        if let Some(own) = self.by_network.get_mut(&network) {
            self.sign_ins.add(-1);
            own.add(-1);
            // As if it had not come, unless the others have been told that it has.
            if own.all == 0 && own.untold == 0 {
                self.by_network.remove(&network);
            }
        }
    }
}

/// What a caller's sign-ins are counted under.
fn unit(caller: Caller) -> CountKey {
    caller.site.unwrap_or(caller.network)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::network::Naming;
    use super::*;

    const START: Duration = Duration::from_secs(7);

    fn caller(n: u32) -> Caller {
        Naming(None).caller(IpAddr::from(Ipv4Addr::from_bits(n)))
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
        let nth = |n: u32| Naming(None).caller(format!("2001:db8:1:{n:x}::1").parse().unwrap());
        assert_eq!((0..100).filter(|n| let_in(&shares, nth(*n), 1) == 1).count(), 10);
        assert_eq!(let_in(&shares, caller(1), 10), 5);
    }

    #[test]
    fn who_waits_as_long_as_it_is_told_is_let_in() {
        let shares = ProviderShares::new(1);
        assert_eq!(shares.take(&corp(), caller(1), START), Ok(()));
        let later = START + Duration::from_secs(20);
        assert_eq!(shares.take(&corp(), caller(1), later), Err(Duration::from_secs(40)));
        assert_eq!(shares.take(&corp(), caller(1), START + span(PERIOD)), Ok(()));
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

    fn untold(shares: &ProviderShares, now: Duration) -> Vec<SharedCount> {
        let mut out = vec![];
        shares.untold("provider_sign_ins", now, &mut out);
        out.into_iter().map(|one| one.count).collect()
    }

    #[test]
    fn one_network_uses_up_its_share_of_all_processes_and_nobody_elses() {
        let [here, there] = [(); 2].map(|()| ProviderShares::new(100));
        assert_eq!(let_in(&there, caller(1), 10_000), 100);
        let later = START + Duration::from_secs(10);
        let told = untold(&there, later);
        assert_eq!(told.iter().map(|one| one.count).collect::<Vec<_>>(), [100, 100]);
        assert_eq!(untold(&there, later), [], "told once");
        for one in &told {
            assert_eq!((&*one.limit, one.age), ("provider_sign_ins corp", Duration::from_secs(10)));
            here.charge("corp", one, later);
        }
        let take = |n, now| here.take(&corp(), caller(n), now);
        assert_eq!(take(1, later), Err(Duration::from_secs(50)), "the same period");
        assert_eq!((0..99).filter(|_| take(2, later).is_ok()).count(), 50);
        assert_eq!(take(1, later + Duration::from_secs(50)), Ok(()));
        // What is of a period that is over comes too late.
        let late = SharedCount { age: span(PERIOD), ..told[0].clone() };
        here.charge("corp", &late, later + Duration::from_secs(50));
        assert_eq!(here.lock()[&corp()].sign_ins.all, 1);
        assert_eq!(untold(&here, later + Duration::from_secs(50)), [], "a twentieth and no less");
    }

    #[test]
    fn what_is_given_back_is_told_and_the_providers_that_are_told_of_are_bounded() {
        let [here, there] = [(); 2].map(|()| ProviderShares::new(20));
        assert_eq!(let_in(&there, caller(1), 20), 20);
        for one in &untold(&there, START) {
            here.charge("corp", one, START);
        }
        assert_eq!(let_in(&here, caller(1), 1), 0);
        for _ in 0..20 {
            there.give_back(&corp(), caller(1));
        }
        for one in &untold(&there, START) {
            here.charge("corp", one, START);
        }
        assert_eq!(let_in(&here, caller(1), 99), 20);
        let one =
            SharedCount { limit: String::new(), key: CountKey::ALL, count: 1, age: Duration::ZERO };
        for n in 0..5000 {
            here.charge(&n.to_string(), &one, START);
        }
        assert_eq!(here.lock().len(), MAX_PROVIDERS);
    }
}
