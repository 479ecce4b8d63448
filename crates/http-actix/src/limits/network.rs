//! The network that a caller's requests are counted under.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::ports::Clock;

use super::allowance::Allowance;

/// How many times the allowance of a /64 a whole /48 has.
pub(crate) const NETWORKS_OF_A_SITE: u32 = 16;

/// Whoever a request comes from, as far as limits can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// An IPv4 address, or the /64 of an IPv6 address: the least that one subscriber has.
    pub(crate) network: Network,
    /// The /48 of an IPv6 address: the most that one subscriber usually has.
    pub(crate) site: Option<Network>,
}

/// A network that requests are counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    first: IpAddr,
    /// The length of the prefix.
    bits: u8,
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        let v6 = match address.to_canonical() {
            first @ IpAddr::V4(_) => {
                return Self { network: Network { first, bits: 32 }, site: None };
            }
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let of_bits = |bits: u8| {
            let host = 128 - u32::from(bits);
            Network { first: Ipv6Addr::from_bits(v6 >> host << host).into(), bits }
        };
        Self { network: of_bits(64), site: Some(of_bits(48)) }
    }
}

/// An allowance of each caller, and of each IPv6 site.
#[derive(Debug)]
pub(crate) struct NetworkAllowance {
    per_minute: u32,
    networks: Allowance<Network>,
    sites: Allowance<Network>,
}

impl NetworkAllowance {
    /// Allows each caller so many requests a minute; 0 allows any number.
    pub(crate) fn new(per_minute: u32, clock: &Arc<dyn Clock>) -> Self {
        Self {
            per_minute,
            networks: Allowance::new(per_minute, Arc::clone(clock)),
            sites: Allowance::new(per_minute.saturating_mul(NETWORKS_OF_A_SITE), Arc::clone(clock)),
        }
    }

    /// How many requests a caller has a minute.
    pub(crate) fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Takes one of the caller's requests.
    ///
    /// # Errors
    /// How long to wait for one, if none is left.
    pub(crate) fn take(&self, caller: Caller) -> Result<(), Duration> {
        self.networks.take(&caller.network)?;
        caller.site.map_or(Ok(()), |site| self.sites.take(&site))
    }

    /// Gives back one of the caller's requests.
    pub(crate) fn give_back(&self, caller: Caller) {
        self.networks.give_back(&caller.network);
        caller.site.inspect(|site| self.sites.give_back(site));
    }
}

#[cfg(test)]
mod tests {
    use mintgate_testkit::ManualClock;

    use super::*;

    fn caller(address: &str) -> Caller {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_ipv4_address_and_an_ipv6_network_of_64_bits_are_one_caller() {
        assert_eq!(caller("2001:db8:1:2::3"), caller("2001:db8:1:2:ffff::"));
        assert_ne!(caller("2001:db8:1:2::3"), caller("2001:db8:1:3::3"));
        assert_ne!(caller("192.0.2.1"), caller("192.0.2.2"));
        assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
    }

    #[test]
    fn the_networks_of_an_ipv6_site_share_a_larger_allowance() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let allowance = NetworkAllowance::new(2, &clock);
        let nth = |n: u32| caller(&format!("2001:db8:1:{n:x}::1"));
        let admitted = (0..5_000).filter(|n| allowance.take(nth(*n)).is_ok()).count();
        assert_eq!(admitted, 32);
        assert_eq!(allowance.take(caller("2001:db8:2::1")), Ok(()), "another site");
        let admitted = (0..5).filter(|_| allowance.take(caller("192.0.2.1")).is_ok()).count();
        assert_eq!(admitted, 2);
    }
}
