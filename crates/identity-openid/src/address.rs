//! The addresses that a provider may have.
//!
//! The provider's discovery document names its endpoints, and the DNS resolves their names. Neither may
//! direct our requests into our own network (server-side request forgery).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::lookups::Lookups;
use crate::network::Network;
use crate::network_scope::{Scope, scope};

/// A URL or address that a provider must not have. The text names it without user information.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AddressRefused(String);

/// The addresses that one provider may have in addition to public ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AddressPolicy {
    loopback: bool,
    private: bool,
    /// The address that the operator configured as the host of the issuer.
    configured: Option<IpAddr>,
    /// The name that the operator configured as the host of the issuer.
    name: Option<String>,
    internal: Option<Internal>,
}

/// Where requests go in place of the provider's public origin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Internal {
    /// A URL of the public origin.
    public: Url,
    url: Url,
}

impl AddressPolicy {
    /// Derives the policy from the configured issuer: an address that the operator configured is permitted.
    pub(crate) fn new(issuer: &Url, network: &Network) -> Self {
        let configured = literal(issuer);
        let loopback = is_localhost(issuer) || configured.is_some_and(|ip| ip.is_loopback());
        let internal = |url: &Url| Internal { public: issuer.clone(), url: url.clone() };
        Self {
            loopback: loopback || network.allow_private_network,
            private: network.allow_private_network,
            configured,
            name: issuer.domain().map(ToOwned::to_owned),
            internal: network.internal_url.as_ref().map(internal),
        }
    }

    /// The URL that a request for this one is sent to, if it is another.
    pub(crate) fn internal(&self, url: &Url) -> Option<Url> {
        let Internal { public, url: internal } = self.internal.as_ref()?;
        (url.origin() == public.origin()).then(|| moved(url, internal))
    }

    /// The URL that a browser is sent to for this one: never an internal one.
    pub(crate) fn public(&self, url: &Url) -> Url {
        match &self.internal {
            Some(internal) if self.is_internal(url) => moved(url, &internal.public),
            _ => url.clone(),
        }
    }

    fn is_internal(&self, url: &Url) -> bool {
        self.internal.as_ref().is_some_and(|internal| internal.url.origin() == url.origin())
    }

    /// Checks a URL without the DNS: the scheme is `https`, or `http` for loopback and for the internal
    /// address that the operator configured; there is no user information; if the host is an address, it
    /// is permitted.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), AddressRefused> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressRefused("a URL with user information is refused".to_owned()));
        }
        if self.is_internal(url) {
            return Ok(());
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

    /// Checks a URL that a forward proxy is asked for. The proxy looks the name up, perhaps in a network of
    /// its own, so a name without a dot is permitted only if the operator configured it.
    pub(crate) fn check_proxied_url(&self, url: &Url) -> Result<(), AddressRefused> {
        let Some(name) = url.domain() else { return Ok(()) };
        let is_configured = self.private
            || self.name.as_deref() == Some(name)
            || is_localhost(url)
            || self.is_internal(url);
        if is_configured || name.trim_end_matches('.').contains('.') {
            Ok(())
        } else {
            Err(AddressRefused(format!("{} is refused: a name without a dot", origin(url))))
        }
    }

    /// Removes the addresses that are not permitted; an error if none is left.
    fn select(
        &self,
        name: &str,
        mut addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, AddressRefused> {
        let found = addresses.len();
        let internal = self.internal.as_ref().and_then(|internal| internal.url.domain());
        let is_internal = internal == Some(name);
        let may_be_internal = |ip| matches!(scope(ip), Scope::Loopback | Scope::Private);
        addresses.retain(|address| {
            self.permits(address.ip()) || is_internal && may_be_internal(address.ip())
        });
        if addresses.is_empty() && found > 0 {
            return Err(AddressRefused(format!("{name} is refused: it has no public address")));
        }
        Ok(addresses)
    }

    fn permits(&self, ip: IpAddr) -> bool {
        match scope(ip) {
            Scope::Public => true,
            Scope::Loopback => self.loopback,
            Scope::Private => self.private || self.configured == Some(ip.to_canonical()),
            Scope::LinkLocal => self.configured == Some(ip.to_canonical()),
            Scope::Unusable => false,
        }
    }
}

/// Looks names up, and returns only permitted addresses. The client connects to the addresses that were
/// checked, so a DNS answer that changes in between has no effect.
pub(crate) struct PolicedResolver {
    pub(crate) policy: Arc<AddressPolicy>,
    pub(crate) lookups: Lookups,
}

impl Resolve for PolicedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookups) = (Arc::clone(&self.policy), self.lookups.clone());
        Box::pin(async move {
            let name = name.as_str();
            let addresses = if name == LOCALHOST {
                vec![(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()]
            } else {
                lookups.addresses(name).await?
            };
            let addresses: Addrs = Box::new(policy.select(name, addresses)?.into_iter());
            Ok(addresses)
        })
    }
}

/// A URL with another scheme, host and port.
fn moved(url: &Url, to: &Url) -> Url {
    let mut moved = to.clone();
    moved.set_path(url.path());
    moved.set_query(url.query());
    moved
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
    mintgate_domain::excerpt(&format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn policy(issuer: &str) -> AddressPolicy {
        AddressPolicy::new(&url(issuer), &Network::default())
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
        let network = Network { allow_private_network: true, ..Network::default() };
        let policy = AddressPolicy::new(&url("https://idp.corp.example"), &network);
        assert!(each(&LOOPBACK).chain(each(&PRIVATE)).all(|ip| policy.permits(ip)));
        for ip in [&LINK_LOCAL[..], &UNUSABLE].iter().flat_map(|ips| each(ips)) {
            assert!(!policy.permits(ip), "{ip}");
        }
    }

    #[test]
    fn case_13_plain_http_is_for_loopback_alone() {
        let open = AddressPolicy { loopback: true, private: true, ..AddressPolicy::default() };
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
    fn an_internal_address_takes_the_place_of_the_public_origin_and_of_nothing_else() {
        let internal = |to: &str| {
            let network = Network { internal_url: Some(url(to)), ..Network::default() };
            AddressPolicy::new(&url("https://id.example.com/realms/x"), &network)
        };
        let policy = internal("http://keycloak:8080");
        let to = |text| policy.internal(&url(text)).map(String::from);
        let token = "https://id.example.com/realms/x/token?a=b";
        assert_eq!(to(token).unwrap(), "http://keycloak:8080/realms/x/token?a=b");
        for other in
            ["https://id.example.com:8443/", "https://example.com/", "http://id.example.com/"]
        {
            assert_eq!(to(other), None, "{other}");
        }
        let public = |text| String::from(policy.public(&url(text)));
        assert_eq!(public("http://keycloak:8080/auth?x"), "https://id.example.com/auth?x");
        assert_eq!(public("https://other.example.com/auth"), "https://other.example.com/auth");
        assert_eq!(policy.check_url(&url("http://keycloak:8080/x")), Ok(()));
        for refused in
            ["http://keycloak/x", "http://keycloak:8081/", "http://db:8080/", "http://10.0.0.1/"]
        {
            assert!(policy.check_url(&url(refused)).is_err(), "{refused}");
        }
        let addresses = |ips: &[&str]| each(ips).map(|ip| (ip, 0).into()).collect::<Vec<_>>();
        for inside in ["10.0.0.1", "127.0.0.1", "fd00::1"] {
            assert!(policy.select("keycloak", addresses(&[inside])).is_ok(), "{inside}");
            assert!(policy.select("id.example.com", addresses(&[inside])).is_err(), "{inside}");
        }
        for refused in ["169.254.169.254", "fe80::1", "0.0.0.0"] {
            assert!(policy.select("keycloak", addresses(&[refused])).is_err(), "{refused}");
        }
        let literal = internal("http://10.1.2.3:8080");
        assert_eq!(literal.check_url(&url("http://10.1.2.3:8080/x")), Ok(()));
        assert!(literal.check_url(&url("https://10.1.2.3/x")).is_err());
    }

    #[test]
    fn a_proxy_is_asked_for_a_name_without_a_dot_only_if_it_is_configured() {
        let check = |policy: &AddressPolicy, text| policy.check_proxied_url(&url(text)).is_ok();
        let public = policy("https://idp.example.com");
        assert!(check(&public, "https://other.example.com/"));
        for text in ["https://metadata/", "https://metadata./", "https://idp/"] {
            assert!(!check(&public, text), "{text}");
        }
        let short = policy("https://idp");
        assert!(check(&short, "https://idp/") && !check(&short, "https://metadata/"));
        let mut network = Network { allow_private_network: true, ..Network::default() };
        let inside = AddressPolicy::new(&url("https://idp.example.com"), &network);
        assert!(check(&inside, "https://metadata/"));
        network.allow_private_network = false;
        network.internal_url = Some(url("https://keycloak:8443"));
        let internal = AddressPolicy::new(&url("https://idp.example.com"), &network);
        assert!(
            check(&internal, "https://keycloak:8443/") && !check(&internal, "https://db:8443/")
        );
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
