//! Limits that the processes on one store have in common.
//!
//! Each process admits or refuses by what it knows, at once. Once a second it tells the others, through the store,
//! what it has counted for the callers who use much, and takes what they have counted as if it had come here.
//! So all together admit what one would, and what came in the last second besides.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::{CountReport, ReplicaId, SharedCount};
use mintgate_domain::ports::{Clock, SharedCounts, StoreError};

use super::untold::{EXCHANGE_EVERY, ToTell};
use super::{CallerLimits, Limit};
use crate::current::CurrentState;

/// How long it is remembered which report of another process was the last: longer than a store has any.
const REMEMBERED_FOR: Duration = Duration::from_mins(3);

/// Exchanges what the limits on callers have counted with the other processes.
pub struct SharedLimits {
    state: Arc<CurrentState>,
    exchange: Exchange,
}

impl SharedLimits {
    /// The time from one exchange to the next.
    pub const EVERY: Duration = EXCHANGE_EVERY;

    /// Exchanges what the limits of this state have counted, as the process with this id, which no other
    /// process may ever have had.
    pub fn new(
        state: Arc<CurrentState>,
        counts: Arc<dyn SharedCounts>,
        clock: Arc<dyn Clock>,
        replica: ReplicaId,
    ) -> Self {
        let exchange = Exchange { counts, clock, replica, number: 0, known: HashMap::new() };
        Self { state, exchange }
    }

    /// Tells the others and learns from them, once; `None` if the limits are not shared.
    ///
    /// What cannot be told is not told later: the others would take it for what has just come.
    pub async fn exchange(&mut self) -> Option<Result<(), StoreError>> {
        let limits = Arc::clone(&self.state.load().caller_limits);
        self.exchange.round(&limits).await
    }
}

struct Exchange {
    counts: Arc<dyn SharedCounts>,
    clock: Arc<dyn Clock>,
    replica: ReplicaId,
    /// The number of the last report.
    number: u64,
    /// Of each process the number of its last report, and when it came.
    known: HashMap<ReplicaId, (u64, Duration)>,
}

impl Exchange {
    async fn round(&mut self, limits: &CallerLimits) -> Option<Result<(), StoreError>> {
        let now = self.clock.monotonic();
        let counts = limits.untold(now)?;
        self.number += 1;
        let report = CountReport { replica: self.replica, number: self.number, counts };
        self.known.retain(|_, (_, at)| now.saturating_sub(*at) < REMEMBERED_FOR);
        let known: Vec<_> = self.known.iter().map(|(id, (number, _))| (*id, *number)).collect();
        let learned = self.counts.exchange(&report, &known).await;
        Some(learned.map(|reports| self.learn(limits, &reports)))
    }

    fn learn(&mut self, limits: &CallerLimits, reports: &[CountReport]) {
        let now = self.clock.monotonic();
        for report in reports {
            let known = self.known.entry(report.replica).or_default();
            *known = (known.0.max(report.number), now);
            report.counts.iter().for_each(|told| limits.charge(told, now));
        }
    }
}

impl CallerLimits {
    /// Takes out what the other processes are to be told, no more than a report may have: if there is more,
    /// those who have used most of their number. `None` if the limits are not shared.
    fn untold(&self, now: Duration) -> Option<Vec<SharedCount>> {
        self.naming.0.as_ref()?;
        let mut out = vec![];
        for limit in Limit::ALL {
            let name = limit.name();
            match limit {
                Limit::RefusedSignIns => self.refused_sign_ins.untold(name, now, &mut out),
                Limit::ProviderSignIns => self.provider_sign_ins.untold(name, now, &mut out),
                Limit::SessionRefreshes => self.session_refreshes.sessions.untold(name, &mut out),
                Limit::Logins
                | Limit::SignIns
                | Limit::RefusedRefreshes
                | Limit::RefusedLogoutTokens
                | Limit::RefusedAdminTokens => {
                    self.allowance(limit).inspect(|it| it.untold(name, &mut out));
                }
            }
        }
        out.sort_unstable_by_key(|one: &ToTell| std::cmp::Reverse(one.share));
        out.truncate(CountReport::MAX_COUNTS);
        Some(out.into_iter().map(|one| one.count).collect())
    }

    /// Takes what another process says that it has counted.
    fn charge(&self, told: &SharedCount, now: Duration) {
        let name = told.limit.split(' ').next().unwrap_or_default();
        // One that is not known is of a later release.
        let Some(limit) = Limit::ALL.into_iter().find(|limit| limit.name() == name) else { return };
        let rest = &told.limit[name.len()..];
        match limit {
            Limit::RefusedSignIns => self.refused_sign_ins.charge(told, now),
            Limit::ProviderSignIns => {
                if let Some(provider) = rest.strip_prefix(' ') {
                    self.provider_sign_ins.charge(provider, told, now);
                }
            }
            Limit::SessionRefreshes => self.session_refreshes.sessions.charge(told),
            Limit::Logins
            | Limit::SignIns
            | Limit::RefusedRefreshes
            | Limit::RefusedLogoutTokens
            | Limit::RefusedAdminTokens => {
                self.allowance(limit).inspect(|it| it.charge(rest, told));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use mintgate_domain::model::{CountDigest, CountKey, ProviderId, SessionId};
    use mintgate_domain::ports::RefreshLimit as _;
    use mintgate_testkit::{ManualClock, MemoryCounts};

    use super::super::Caller;
    use super::*;
    use crate::config::RateLimits;

    /// A process whose limits all have this number.
    struct Process {
        limits: CallerLimits,
        exchange: Exchange,
    }

    impl Process {
        fn new(id: u8, most: u32, counts: &Arc<MemoryCounts>, clock: &Arc<ManualClock>) -> Self {
            let config = RateLimits {
                logins_per_minute: most,
                sign_ins_per_minute: most,
                refused_sign_ins_per_minute: most,
                provider_sign_ins_per_minute: most,
                refused_refreshes_per_minute: most,
                refused_logout_tokens_per_minute: most,
                session_refreshes_per_minute: most,
                refused_admin_tokens_per_minute: most,
                exempt: vec![],
                shared: Some(CountDigest::unkeyed()),
            };
            let (counts, replica, known) = (counts.clone(), [id; 16], HashMap::new());
            let exchange = Exchange { counts, clock: clock.clone(), replica, number: 0, known };
            let clock: Arc<dyn Clock> = clock.clone();
            Self { limits: CallerLimits::new(config, &clock), exchange }
        }

        async fn round(&mut self) -> Result<(), StoreError> {
            self.exchange.round(&self.limits).await.unwrap()
        }

        fn caller(&self, address: &str) -> Caller {
            self.limits.naming.caller(address.parse::<IpAddr>().unwrap())
        }

        /// How many of so many requests each limit lets in of a caller.
        fn let_in(&self, address: &str, asked: u32) -> [u32; 8] {
            let (caller, now) = (self.caller(address), self.exchange.clock.monotonic());
            let session = SessionId::parse("00000000-0000-0000-0000-000000000007").unwrap();
            let one = |limit: Limit| match limit {
                Limit::RefusedSignIns => {
                    let is_let_in = self.limits.refused_sign_ins.wait(caller, now).is_none();
                    if is_let_in {
                        self.limits.refused_sign_ins.count(caller, now);
                    }
                    is_let_in
                }
                Limit::ProviderSignIns => {
                    let corp = ProviderId::new("corp");
                    self.limits.provider_sign_ins.take(&corp, caller, now).is_ok()
                }
                Limit::SessionRefreshes => self.limits.session_refreshes.take(session).is_ok(),
                limit => self.limits.allowance(limit).unwrap().take(caller).is_ok(),
            };
            Limit::ALL.map(|limit| (0..asked).map(|_| u32::from(one(limit))).sum())
        }
    }

    fn pair(most: u32) -> (Process, Process, Arc<MemoryCounts>, Arc<ManualClock>) {
        let (counts, clock) = (Arc::default(), Arc::default());
        let [a, b] = [1, 2].map(|id| Process::new(id, most, &counts, &clock));
        (a, b, counts, clock)
    }

    #[tokio::test]
    async fn every_limit_is_shared_also_that_of_ipv6_sites() {
        let (mut a, mut b, ..) = pair(20);
        assert_eq!(a.let_in("2001:db8::1", 99), [20; 8]);
        a.round().await.unwrap();
        b.round().await.unwrap();
        assert_eq!(b.let_in("2001:db8::1", 1), [0; 8]);
        // Fifteen more networks of the site have what is left of it: those limits that know sites.
        let mut others = [0; 8];
        for n in 1..=50 {
            let let_in = b.let_in(&format!("2001:db8:0:{n:x}::1"), 20);
            others.iter_mut().zip(let_in).for_each(|(sum, one)| *sum += one);
        }
        assert_eq!(others, [300, 300, 300, 0, 300, 300, 0, 300]);
        let [.., refreshes, _] = b.let_in("192.0.2.1", 20);
        assert_eq!(refreshes, 0, "the session is the same");
        assert_eq!(b.let_in("192.0.2.2", 20)[..3], [20; 3]);
    }

    #[tokio::test]
    async fn what_was_learned_once_is_not_learned_again() {
        let (mut a, mut b, counts, _) = pair(20);
        assert_eq!(a.let_in("192.0.2.1", 4)[0], 4);
        a.round().await.unwrap();
        for _ in 0..20 {
            b.round().await.unwrap();
        }
        assert_eq!(b.let_in("192.0.2.1", 99)[0], 16);
        counts.age(Duration::from_mins(2));
        b.round().await.unwrap();
        a.round().await.unwrap();
        assert_eq!(a.let_in("192.0.2.1", 99)[0], 0);
    }

    #[tokio::test]
    async fn while_the_store_is_down_each_counts_for_itself_and_later_for_both() {
        let (mut a, mut b, counts, clock) = pair(20);
        counts.set_fault(Some(StoreError::Unavailable("down".into())));
        assert_eq!([&a, &b].map(|one| one.let_in("192.0.2.1", 99)[0]), [20, 20]);
        assert!(a.round().await.is_err() && b.round().await.is_err());
        counts.set_fault(None);
        a.round().await.unwrap();
        assert_eq!(counts.reports(), [], "what was not told is not told late");
        clock.advance(Duration::from_mins(1));
        assert_eq!(a.let_in("192.0.2.1", 99)[0], 20);
        a.round().await.unwrap();
        b.round().await.unwrap();
        assert_eq!(b.let_in("192.0.2.1", 99)[0], 0);
    }

    #[tokio::test]
    async fn a_report_has_a_thousand_counts_of_those_who_used_most() {
        let (mut a, _, counts, _) = pair(100);
        let caller = |n: u32| format!("192.0.{}.{}", n / 250, n % 250);
        for n in 0..2000 {
            let caller = a.caller(&caller(n));
            (0..5).for_each(|_| a.limits.logins.take(caller).unwrap());
        }
        let busiest = a.caller(&caller(1999));
        (0..50).for_each(|_| a.limits.logins.take(busiest).unwrap());
        a.round().await.unwrap();
        let [report] = &counts.reports()[..] else { panic!("one report") };
        assert_eq!(report.counts.len(), CountReport::MAX_COUNTS);
        assert_eq!((report.counts[0].key, report.counts[0].count), (busiest.network, 55));
    }

    #[tokio::test]
    async fn what_a_later_release_says_changes_nothing_and_processes_that_ended_are_forgotten() {
        let (mut a, _, counts, clock) = pair(20);
        let key = a.caller("192.0.2.1").network;
        for (n, limit) in ["flights", "logins of planets", "logins2", "", "provider_sign_ins"]
            .into_iter()
            .enumerate()
        {
            let limit = limit.to_owned();
            let told = SharedCount { limit, key, count: 20, age: Duration::ZERO };
            let replica = [u8::try_from(n).unwrap() + 50; 16];
            let report = CountReport { replica, number: 1, counts: vec![told] };
            counts.exchange(&report, &[]).await.unwrap();
        }
        a.round().await.unwrap();
        assert_eq!(a.exchange.known.len(), 5);
        assert_eq!(a.let_in("192.0.2.1", 99), [20; 8]);
        clock.advance(Duration::from_mins(3));
        counts.age(Duration::from_mins(3));
        a.round().await.unwrap();
        assert_eq!(a.exchange.known.len(), 0);
        assert_ne!(key, CountKey::ALL);
    }
}
