//! The forward proxies that requests to a provider go through, and the hosts that are reached without.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mintgate_domain::SecretText;
use url::{Host, Url};

/// The forward proxies of one provider; the default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<ProxyUrl>,
    https: Option<ProxyUrl>,
    without: Vec<Exception>,
}

/// The address of a forward proxy. Its user and password are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    /// The whole URL, credentials included.
    text: SecretText,
    /// Scheme, host and port.
    name: Arc<str>,
}

/// A text that is not the address of a forward proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not http:// or https:// with a host, for example http://proxy.example.com:3128")]
pub struct ProxyUrlError;

/// Hosts that are reached without a proxy, as an element of `NO_PROXY` names them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// The port that it is about; `None` for all.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name and all names below it, in lower case.
    Domain(String),
    /// The addresses of a network, which can be a single one.
    Addresses(IpNet),
}

impl Proxies {
    /// One proxy for every request.
    pub fn all(proxy: ProxyUrl) -> Self {
        Self { http: Some(proxy.clone()), https: Some(proxy), without: Vec::new() }
    }

    /// What the usual environment variables say: `https_proxy` and `http_proxy` for requests by `https`
    /// and `http`, `no_proxy` for the hosts that are reached without. Of a name in lower case and the same in
    /// upper case, the former counts, as with curl; an empty value is none.
    ///
    /// # Errors
    /// The name of the first variable that is not the address of a proxy.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, &'static str> {
        let value = |[lower, upper]: [&'static str; 2]| {
            [lower, upper].into_iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.trim().is_empty())?;
                Some((name, value))
            })
        };
        let proxy = |names| match value(names) {
            None => Ok(None),
            Some((name, text)) => text.parse().map(Some).map_err(|ProxyUrlError| name),
        };
        let (_, without) = value(["no_proxy", "NO_PROXY"]).unwrap_or_default();
        Ok(Self {
            https: proxy(["https_proxy", "HTTPS_PROXY"])?,
            http: proxy(["http_proxy", "HTTP_PROXY"])?,
            without: without
                .split([',', ' ', '\t'])
                .filter(|element| !element.is_empty())
                .filter_map(Exception::parse)
                .collect(),
        })
    }

    /// The proxy that a request for this URL goes through, if there is one.
    pub fn proxy_for(&self, url: &Url) -> Option<&ProxyUrl> {
        let proxy = if url.scheme() == "http" { &self.http } else { &self.https };
        proxy.as_ref().filter(|_| !self.without.iter().any(|exception| exception.covers(url)))
    }

    /// The proxies as the HTTP client takes them, for requests that go through one; `None` if none do.
    ///
    /// # Errors
    /// If the HTTP client takes no such proxy.
    pub(crate) fn for_client(&self) -> Result<Option<Vec<reqwest::Proxy>>, reqwest::Error> {
        let http = self.http.as_ref().map(|proxy| reqwest::Proxy::http(proxy.text.expose()));
        let https = self.https.as_ref().map(|proxy| reqwest::Proxy::https(proxy.text.expose()));
        let proxies: Vec<_> = http.into_iter().chain(https).collect::<Result<_, _>>()?;
        Ok(Some(proxies).filter(|proxies| !proxies.is_empty()))
    }
}

impl std::str::FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    /// Reads `http://` or `https://` with a host, and if need be user, password and port. Without a
    /// scheme it is `http`.
    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let text = text.trim();
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&text).map_err(|_| ProxyUrlError)?;
        let (Some(host), "http" | "https") = (url.host_str(), url.scheme()) else {
            return Err(ProxyUrlError);
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let name = format!("{}://{host}:{port}", url.scheme()).into();
        Ok(Self { text: SecretText::new(text), name })
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

impl Exception {
    /// Reads one element of `NO_PROXY`: `*`, an address, a network such as `10.0.0.0/8`, or a name, which
    /// also stands for all names below it, with or without `.` or `*.` in front. A port may follow. What
    /// is none of these covers no host.
    fn parse(element: &str) -> Option<Self> {
        let all_ports = |hosts| Some(Self { hosts, port: None });
        if element == "*" {
            return all_ports(Hosts::All);
        }
        if element.contains('/') {
            return all_ports(Hosts::Addresses(element.parse().ok()?));
        }
        if let Some(address) = ip(element) {
            return all_ports(Hosts::Addresses(address.into()));
        }
        let (host, port) = match element.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (element, None),
        };
        if let Some(address) = ip(host) {
            return Some(Self { hosts: Hosts::Addresses(address.into()), port });
        }
        let name = host.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then_some(Self { hosts: Hosts::Domain(name), port })
    }

    fn covers(&self, url: &Url) -> bool {
        if self.port.is_some() && self.port != url.port_or_known_default() {
            return false;
        }
        match (&self.hosts, url.host()) {
            (Hosts::All, _) => true,
            (Hosts::Domain(domain), Some(Host::Domain(name))) => name
                .trim_end_matches('.')
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            (Hosts::Addresses(network), Some(Host::Ipv4(ip))) => {
                network.contains(&IpAddr::from(ip))
            }
            (Hosts::Addresses(network), Some(Host::Ipv6(ip))) => {
                network.contains(&IpAddr::from(ip).to_canonical())
            }
            _ => false,
        }
    }
}

/// An IP address, which may stand in brackets if it is one of IPv6.
fn ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Proxies {
        let value = |name: &str| variables.iter().find(|(other, _)| *other == name);
        Proxies::from_environment(|name| value(name).map(|(_, value)| (*value).to_owned())).unwrap()
    }

    fn proxy_for(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.proxy_for(&Url::parse(url).unwrap()).map(ToString::to_string)
    }

    #[test]
    fn the_scheme_of_a_request_decides_which_proxy_it_goes_through() {
        let proxies = from(&[
            ("HTTPS_PROXY", "proxy.example.com:3128"),
            ("http_proxy", "https://user:pass@10.0.0.9"),
            ("HTTP_PROXY", "http://ignored.example.com"),
        ]);
        let at = |url| proxy_for(&proxies, url);
        assert_eq!(at("https://idp.example.com/x").unwrap(), "http://proxy.example.com:3128");
        assert_eq!(at("http://idp.example.com/x").unwrap(), "https://10.0.0.9:443");
        assert_eq!(proxy_for(&from(&[("https_proxy", " ")]), "https://idp.example.com"), None);
        assert_eq!(proxy_for(&from(&[]), "https://idp.example.com"), None);
        for scheme in ["http", "https"] {
            let all = Proxies::all("http://one.example.com".parse().unwrap());
            let proxy = proxy_for(&all, &format!("{scheme}://idp.example.com"));
            assert_eq!(proxy.unwrap(), "http://one.example.com:80");
        }
    }

    #[test]
    fn hosts_named_in_no_proxy_are_reached_without_one() {
        for (no_proxy, direct, proxied) in [
            ("*", vec!["https://a.test", "https://8.8.8.8", "https://[2606:4700::1]"], vec![]),
            (
                "a.test, 10.1.2.3",
                vec!["https://a.test", "https://a.test.", "https://b.a.test:9", "https://10.1.2.3"],
                vec!["https://ba.test", "https://a.test.example.com", "https://10.1.2.4"],
            ),
            (".A.Test", vec!["https://b.a.test", "https://a.test"], vec!["https://ba.test"]),
            ("*.a.test b.test", vec!["https://b.a.test", "https://b.test"], vec!["https://c.test"]),
            (
                "a.test:8443,10.0.0.1:9,[fd00::1]:443",
                vec!["https://a.test:8443", "https://10.0.0.1:9", "https://[fd00::1]"],
                vec!["https://a.test", "https://10.0.0.1", "https://[fd00::1]:8"],
            ),
            (
                "10.0.0.0/8,fd00::/8,::1",
                vec!["https://10.9.8.7", "https://[::ffff:10.0.0.1]", "https://[fd12::1]"],
                vec!["https://11.0.0.1", "https://[fe80::1]", "https://ten.test"],
            ),
            ("10.0.0.0/33,/8,:80,,a.test:x,..", vec![], vec!["https://10.0.0.1", "https://a.test"]),
        ] {
            let proxies = from(&[("https_proxy", "p.test:1"), ("no_proxy", no_proxy)]);
            for url in direct {
                assert_eq!(proxy_for(&proxies, url), None, "{no_proxy}: {url}");
            }
            for url in proxied {
                assert!(proxy_for(&proxies, url).is_some(), "{no_proxy}: {url}");
            }
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_named() {
        for text in
            ["socks5://proxy.example.com", "ftp://x", "http://", "://", "a b", "http://x:99999"]
        {
            assert!(text.parse::<ProxyUrl>().is_err(), "{text}");
            let value = |name: &str| (name == "HTTPS_PROXY").then(|| text.to_owned());
            assert_eq!(Proxies::from_environment(value).unwrap_err(), "HTTPS_PROXY", "{text}");
        }
    }

    #[test]
    fn credentials_are_not_printed() {
        let proxy: ProxyUrl = "http://user:hunter2@proxy.example.com".parse().unwrap();
        let printed = format!("{proxy} {proxy:?} {:?}", Proxies::all(proxy.clone()));
        assert!(printed.contains("proxy.example.com"), "{printed}");
        assert!(!printed.contains("hunter2") && !printed.contains("user"), "{printed}");
    }
}
