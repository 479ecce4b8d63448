//! The addresses that a provider may have.
//!
//! The provider's discovery document names its endpoints, and the DNS resolves their names. Neither may
//! direct our requests into our own network (server-side request forgery).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::network_scope::{Scope, scope};

/// A URL or address that a provider must not have. The text names it without user information.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AddressRefused(String);

/// The addresses that one provider may have in addition to public ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AddressPolicy {
    loopback: bool,
    private: bool,
    /// The address that the operator configured as the host of the issuer.
    configured: Option<IpAddr>,
}

impl AddressPolicy {
    /// Derives the policy from the configured issuer: an address that the operator configured is permitted.
    pub(crate) fn for_issuer(issuer: &Url, allow_private_network: bool) -> Self {
        let configured = literal(issuer);
        let loopback = is_localhost(issuer) || configured.is_some_and(|ip| ip.is_loopback());
        Self {
            loopback: loopback || allow_private_network,
            private: allow_private_network,
            configured,
        }
    }

    /// Checks a URL without the DNS: the scheme is `https`, or `http` for loopback; there is no user
    /// information; if the host is an address, it is permitted.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), AddressRefused> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressRefused("a URL with user information is refused".to_owned()));
        }
        let address = literal(url);
        let loopback = is_localhost(url) || address.is_some_and(|ip| ip.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err(AddressRefused(format!("{} is refused: not https", origin(url)))),
        }
        let permitted = match address {
            Some(ip) => self.permits(ip),
            None => !is_localhost(url) || self.loopback,
        };
        if permitted {
            Ok(())
        } else {
            Err(AddressRefused(format!("{} is refused: not a public address", origin(url))))
        }
    }

    /// Removes the addresses that are not permitted; an error if none is left.
    fn select(
        self,
        name: &str,
        mut addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, AddressRefused> {
        let found = addresses.len();
        addresses.retain(|address| self.permits(address.ip()));
        if addresses.is_empty() && found > 0 {
            return Err(AddressRefused(format!("{name} is refused: it has no public address")));
        }
        Ok(addresses)
    }

    fn permits(self, ip: IpAddr) -> bool {
        match scope(ip) {
            Scope::Public => true,
            Scope::Loopback => self.loopback,
            Scope::Private => self.private || self.configured == Some(ip.to_canonical()),
            Scope::LinkLocal => self.configured == Some(ip.to_canonical()),
            Scope::Unusable => false,
        }
    }
}

/// Resolves names as the system does, and returns only permitted addresses. The client connects to the
/// addresses that were checked, so a DNS answer that changes in between has no effect.
pub(crate) struct PolicedResolver(pub(crate) AddressPolicy);

impl Resolve for PolicedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0;
        Box::pin(async move {
            let name = name.as_str();
            let addresses = if name == LOCALHOST {
                vec![(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()]
            } else {
                tokio::net::lookup_host((name, 0)).await?.collect()
            };
            let addresses: Addrs = Box::new(policy.select(name, addresses)?.into_iter());
            Ok(addresses)
        })
    }
}

/// A name that is never looked up in the DNS (RFC 6761 §6.3).
const LOCALHOST: &str = "localhost";

fn is_localhost(url: &Url) -> bool {
    url.host_str() == Some(LOCALHOST)
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(IpAddr::from(ip).to_canonical()),
        Host::Domain(_) => None,
    }
}

fn origin(url: &Url) -> String {
    crate::text::excerpt(&format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn policy(issuer: &str) -> AddressPolicy {
        AddressPolicy::for_issuer(&url(issuer), false)
    }

    const LOOPBACK: [&str; 4] = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"];
    const PRIVATE: [&str; 8] = [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "fd00::1",
        "::ffff:10.0.0.1",
    ];
    const LINK_LOCAL: [&str; 4] =
        ["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.169.254"];
    const UNUSABLE: [&str; 27] = [
        "0.0.0.0",
        "0.1.2.3",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::1",
        "2002:0a00:0001::1",
        "2002:7f00:0001::1",
        "2002:a9fe:a9fe::1",
        "2001::1",
        "2001:db8::1",
        "fec0::1",
        "ff02::1",
        "100::1",
    ];
    const PUBLIC: [&str; 9] = [
        "8.8.8.8",
        "172.15.0.1",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:0808:0808::1",
    ];

    fn each<'a>(ips: &'a [&'a str]) -> impl Iterator<Item = IpAddr> + 'a {
        ips.iter().map(|ip| ip.parse().unwrap())
    }

    #[test]
    fn by_default_only_public_addresses_are_permitted() {
        let policy = policy("https://idp.example.com");
        for ip in [&LOOPBACK[..], &PRIVATE, &LINK_LOCAL, &UNUSABLE].iter().flat_map(|ips| each(ips))
        {
            assert!(!policy.permits(ip), "{ip}");
            let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
            assert!(policy.check_url(&url(&format!("https://{host}/"))).is_err(), "{ip}");
        }
        for ip in each(&PUBLIC) {
            assert!(policy.permits(ip), "{ip}");
        }
    }

    #[test]
    fn a_loopback_issuer_permits_loopback_alone() {
        for issuer in ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000/x"] {
            let policy = policy(issuer);
            assert!(each(&LOOPBACK).all(|ip| policy.permits(ip)));
            for ip in [&PRIVATE[..], &LINK_LOCAL, &UNUSABLE].iter().flat_map(|ips| each(ips)) {
                assert!(!policy.permits(ip), "{ip}");
            }
        }
    }

    #[test]
    fn a_private_issuer_permits_exactly_its_own_address() {
        let policy = policy("https://10.1.2.3");
        assert!(policy.permits("10.1.2.3".parse().unwrap()));
        assert!(policy.permits("::ffff:10.1.2.3".parse().unwrap()));
        for ip in [&LOOPBACK[..], &PRIVATE, &LINK_LOCAL, &UNUSABLE].iter().flat_map(|ips| each(ips))
        {
            assert!(!policy.permits(ip), "{ip}");
        }
    }

    #[test]
    fn allowing_private_networks_never_allows_link_local() {
        let policy = AddressPolicy::for_issuer(&url("https://idp.corp.example"), true);
        assert!(each(&LOOPBACK).chain(each(&PRIVATE)).all(|ip| policy.permits(ip)));
        for ip in [&LINK_LOCAL[..], &UNUSABLE].iter().flat_map(|ips| each(ips)) {
            assert!(!policy.permits(ip), "{ip}");
        }
    }

    #[test]
    fn case_13_plain_http_is_for_loopback_alone() {
        let open = AddressPolicy { loopback: true, private: true, configured: None };
        for refused in [
            "http://idp.example.com/",
            "http://10.0.0.1/",
            "http://localhost.example.com/",
            "http://localhost./",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "data:,x",
        ] {
            assert!(open.check_url(&url(refused)).is_err(), "{refused}");
        }
        for permitted in ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "https://a.b/"]
        {
            assert_eq!(open.check_url(&url(permitted)), Ok(()), "{permitted}");
        }
        assert!(policy("https://idp.example.com").check_url(&url("http://localhost/")).is_err());
    }

    #[test]
    fn spellings_of_an_address_do_not_matter() {
        let policy = policy("https://idp.example.com");
        for text in [
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://１２７.０.０.１/",
            "https://LOCALHOST/",
            "https://[::ffff:7f00:1]/",
            "https://169.254.43518/",
        ] {
            assert!(policy.check_url(&url(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn user_information_is_refused_and_not_repeated() {
        let policy = policy("https://idp.example.com");
        for text in ["https://user:hunter2@idp.example.com/", "https://hunter2@idp.example.com/"] {
            let refused = policy.check_url(&url(text)).unwrap_err();
            assert!(!refused.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn of_a_name_with_several_addresses_the_refused_ones_are_left_out() {
        let policy = policy("https://idp.example.com");
        let public: SocketAddr = "8.8.8.8:0".parse().unwrap();
        let private: SocketAddr = "10.0.0.1:0".parse().unwrap();
        assert_eq!(policy.select("a.example", vec![private, public]), Ok(vec![public]));
        assert!(policy.select("a.example", vec![private]).is_err());
        assert_eq!(policy.select("a.example", Vec::new()), Ok(Vec::new()));
    }
}
