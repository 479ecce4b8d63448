//! The network that a caller's requests are counted under.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::{CountDigest, CountKey, SessionId, SharedCount};
use mintgate_domain::ports::Clock;

use super::allowance::Allowance;
use super::untold::ToTell;

/// How many times the allowance of a /64 a whole /48 has.
pub(crate) const NETWORKS_OF_A_SITE: u32 = 16;
/// What the name of a limit has behind it where whole sites are counted.
const OF_SITES: &str = " of sites";

/// Whoever a request comes from, as far as limits can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// An IPv4 address, or the /64 of an IPv6 address: the least that one subscriber has.
    pub(crate) network: CountKey,
    /// The /48 of an IPv6 address: the most that one subscriber usually has.
    pub(crate) site: Option<CountKey>,
}

/// What networks and sessions are counted under: a digest if it leaves this process.
#[derive(Debug)]
pub(crate) struct Naming(pub(crate) Option<CountDigest>);

impl Naming {
    /// The caller at an address.
    pub(crate) fn caller(&self, address: IpAddr) -> Caller {
        let v6 = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let network = self.key(v4.to_ipv6_mapped().octets());
                return Caller { network, site: None };
            }
            IpAddr::V6(v6) => v6.to_bits(),
        };
        // Its length stands in the last byte, which both prefixes leave free.
        let of_bits = |bits: u8| {
            let host = 128 - u32::from(bits);
            let prefix = Ipv6Addr::from_bits(v6 >> host << host | u128::from(bits));
            self.key(prefix.octets())
        };
        Caller { network: of_bits(64), site: Some(of_bits(48)) }
    }

    /// A session.
    pub(crate) fn session(&self, session: SessionId) -> CountKey {
        self.key(*session.as_uuid().as_bytes())
    }

    fn key(&self, bytes: [u8; 16]) -> CountKey {
        self.0.as_ref().map_or(CountKey(bytes), |digest| digest.of(&bytes))
    }
}

/// An allowance of each caller, and of each IPv6 site.
#[derive(Debug)]
pub(crate) struct NetworkAllowance {
    per_minute: u32,
    networks: Allowance,
    sites: Allowance,
}

impl NetworkAllowance {
    /// Allows each caller so many requests a minute; 0 allows any number. If `is_shared`, the other processes
    /// on the store are to be told.
    pub(crate) fn new(per_minute: u32, is_shared: bool, clock: &Arc<dyn Clock>) -> Self {
        let of_site = per_minute.saturating_mul(NETWORKS_OF_A_SITE);
        Self {
            per_minute,
            networks: Allowance::new(per_minute, is_shared, Arc::clone(clock)),
            sites: Allowance::new(of_site, is_shared, Arc::clone(clock)),
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
        self.networks.take(caller.network)?;
        caller.site.map_or(Ok(()), |site| self.sites.take(site))
    }

    /// Gives back one of the caller's requests.
    pub(crate) fn give_back(&self, caller: Caller) {
        self.networks.give_back(caller.network);
        caller.site.inspect(|site| self.sites.give_back(*site));
    }

    /// Takes out what the other processes are to be told under the name of this limit.
    pub(crate) fn untold(&self, name: &str, out: &mut Vec<ToTell>) {
        self.networks.untold(name, out);
        self.sites.untold(&format!("{name}{OF_SITES}"), out);
    }

    /// Takes what another process has counted under the name of this limit, which `rest` follows.
    pub(crate) fn charge(&self, rest: &str, told: &SharedCount) {
        match rest {
            "" => self.networks.charge(told),
            OF_SITES => self.sites.charge(told),
            // A later release says it.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use mintgate_testkit::ManualClock;

    use super::*;

    fn caller(address: &str) -> Caller {
        Naming(None).caller(address.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_and_an_ipv6_network_of_64_bits_are_one_caller() {
        for naming in [Naming(None), Naming(Some(CountDigest::unkeyed()))] {
            let caller = |address: &str| naming.caller(address.parse().unwrap());
            assert_eq!(caller("2001:db8:1:2::3"), caller("2001:db8:1:2:ffff::"));
            assert_ne!(caller("2001:db8:1:2::3"), caller("2001:db8:1:3::3"));
            assert_ne!(caller("192.0.2.1"), caller("192.0.2.2"));
            assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
            let first_of_a_site = caller("2001:db8:1::");
            assert_ne!(Some(first_of_a_site.network), first_of_a_site.site);
        }
    }

    #[test]
    fn what_leaves_the_process_does_not_name_the_network() {
        let naming = Naming(Some(CountDigest::unkeyed()));
        let network = naming.caller("192.0.2.1".parse().unwrap()).network;
        assert!(!network.0.windows(2).any(|bytes| bytes == [192, 0]), "{network:?}");
        assert_ne!(network, caller("192.0.2.1").network);
    }

    #[test]
    fn the_networks_of_an_ipv6_site_share_a_larger_allowance() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let allowance = NetworkAllowance::new(2, false, &clock);
        let nth = |n: u32| caller(&format!("2001:db8:1:{n:x}::1"));
        let admitted = (0..5_000).filter(|n| allowance.take(nth(*n)).is_ok()).count();
        assert_eq!(admitted, 32);
        assert_eq!(allowance.take(caller("2001:db8:2::1")), Ok(()), "another site");
        let admitted = (0..5).filter(|_| allowance.take(caller("192.0.2.1")).is_ok()).count();
        assert_eq!(admitted, 2);
    }
}
