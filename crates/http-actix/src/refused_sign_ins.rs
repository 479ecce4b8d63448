//! The limit on how many sign-ins of one caller may be refused: each asks a provider or verifies a
//! signature, and only who guesses has many refused.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use actix_web::HttpRequest;
use mintgate_domain::ErrorCode;
use mintgate_domain::memory::Bounded;

use crate::AppState;
use crate::client::{caller_address, is_unknown_proxy};
use crate::error::{ApiError, ErrorKind};
use crate::metrics::LimitResult;

/// The time in which refusals are counted. It begins with a caller's first refusal.
const PERIOD: Duration = Duration::from_mins(1);
/// How many callers are counted at once: a few megabytes. The one counted for longest is forgotten first.
const MAX_CALLERS: usize = 65_536;

/// Counts refused sign-ins by caller, in this process alone.
#[derive(Debug)]
pub(crate) struct RefusedSignIns {
    /// How many refusals a caller may have in a minute; 0 for any number.
    most: u32,
    counts: Bounded<Caller, Arc<Count>>,
    warning: Once,
}

/// An IPv4 address, or the /64 of an IPv6 address: the least that one subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Caller(IpAddr);

#[derive(Debug)]
struct Count {
    began: Duration,
    refused: AtomicU32,
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        })
    }
}

impl RefusedSignIns {
    /// Allows `most` refusals of a caller in a minute; 0 allows any number.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, counts: Bounded::new(MAX_CALLERS, PERIOD), warning: Once::new() }
    }

    /// How long this caller has to wait, if it has to. `now` is monotonic.
    fn wait(&self, caller: Caller, now: Duration) -> Option<Duration> {
        let count = self.counts.get(&caller, now)?;
        (count.refused.load(Relaxed) >= self.most)
            .then(|| (count.began + PERIOD).saturating_sub(now))
    }

    /// Counts a refusal.
    fn count(&self, caller: Caller, now: Duration) {
        let first = || Arc::new(Count { began: now, refused: AtomicU32::new(1) });
        match self.counts.get(&caller, now) {
            Some(count) => _ = count.refused.fetch_add(1, Relaxed),
            None => self.counts.insert(caller, first(), now),
        }
    }
}

impl AppState {
    /// The caller whose refused sign-in counts; none if there is no limit for it.
    ///
    /// # Errors
    /// `RATE_LIMITED` if too many of the caller's sign-ins have been refused.
    pub(crate) fn limit_sign_ins(&self, request: &HttpRequest) -> Result<Option<Caller>, ApiError> {
        let limit = &self.refused_sign_ins;
        if limit.most == 0 {
            return Ok(None);
        }
        // All that come through it would be one caller.
        if is_unknown_proxy(request, &self.trusted_proxies) {
            self.ports.metrics.sign_in_limit(LimitResult::UnknownProxy);
            limit.warning.call_once(|| {
                tracing::warn!(
                    peer = ?request.peer_addr(),
                    "limits.refused_sign_ins_per_minute is not applied: this peer forwards for others; \
                     name its network in server.trusted_proxies"
                );
            });
            return Ok(None);
        }
        let caller = caller_address(request, &self.trusted_proxies).map(Caller::from);
        let wait = caller.and_then(|caller| limit.wait(caller, self.ports.clock.monotonic()));
        if let Some(wait) = wait {
            self.ports.metrics.sign_in_limit(LimitResult::Refused);
            return Err(ApiError::rate_limited(wait));
        }
        Ok(caller)
    }

    /// Counts a refused sign-in, if its code or its ID token was refused.
    pub(crate) fn count_refusal(&self, caller: Option<Caller>, refusal: &ApiError) {
        use ErrorCode::{InvalidAuthCode, InvalidIdToken};
        if let Some(caller) = caller
            && let ErrorKind::Core(InvalidAuthCode | InvalidIdToken) = refusal.kind()
        {
            self.refused_sign_ins.count(caller, self.ports.clock.monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn an_ipv4_address_and_an_ipv6_network_of_64_bits_are_one_caller() {
        assert_eq!(caller("2001:db8:1:2::3"), caller("2001:db8:1:2:ffff::"));
        assert_ne!(caller("2001:db8:1:2::3"), caller("2001:db8:1:3::3"));
        assert_ne!(caller("192.0.2.1"), caller("192.0.2.2"));
        assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
    }

    #[test]
    fn the_number_of_callers_is_bounded() {
        let limit = RefusedSignIns::new(1);
        let nth = |n: usize| Caller(Ipv6Addr::from_bits((n as u128) << 64).into());
        (0..2 * MAX_CALLERS).for_each(|n| limit.count(nth(n), SECOND));
        assert_eq!(limit.counts.len(), MAX_CALLERS);
        assert_eq!(limit.wait(nth(2 * MAX_CALLERS - 1), SECOND), Some(PERIOD));
    }
}
