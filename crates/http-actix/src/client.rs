//! The caller's address and user agent, as far as they can be believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use actix_web::http::header;
use actix_web::{HttpMessage as _, HttpRequest};
use ipnet::IpNet;
use mintgate_domain::model::ClientInfo;

use crate::client_address::StatedCaller;

const FORWARDED_FOR: &str = "x-forwarded-for";
const MAX_USER_AGENT_BYTES: usize = 256;

/// The caller's address: the one that a client has signed, else that of the peer or, if the peer is a
/// trusted proxy, the last address in `X-Forwarded-For` or else in `Forwarded` (RFC 7239) that is not a
/// trusted proxy's.
pub(crate) fn caller_address(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    found_caller(request, trusted).map(|found| found.address)
}

/// The caller's address, as [`caller_address`].
pub(crate) struct FoundCaller {
    pub(crate) address: IpAddr,
    /// Whether a trusted proxy has named the caller in a way that cannot be read: the address is the
    /// proxy's.
    pub(crate) is_unreadable: bool,
}

/// The caller's address, and whether it is the caller's.
pub(crate) fn found_caller(request: &HttpRequest, trusted: &[IpNet]) -> Option<FoundCaller> {
    let found = |address| Some(FoundCaller { address, is_unreadable: false });
    if let Some(stated) = request.extensions().get::<StatedCaller>() {
        return found(stated.address);
    }
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut address = request.peer_addr()?.ip().to_canonical();
    if !is_trusted(address) {
        return found(address);
    }
    let headers = request.headers();
    let (name, node): (_, fn(&str) -> Option<IpAddr>) = if headers.contains_key(FORWARDED_FOR) {
        (FORWARDED_FOR, address_of)
    } else {
        (header::FORWARDED.as_str(), forwarded_for)
    };
    // By bytes, so that what a client has put in front of the proxy's part cannot spoil that. For the
    // same reason commas separate hops even in quotes.
    let hops: Vec<&[u8]> =
        headers.get_all(name).flat_map(|value| value.as_bytes().split(|b| *b == b',')).collect();
    for hop in hops.iter().rev() {
        let Some(hop) = str::from_utf8(hop).ok().and_then(node) else {
            return Some(FoundCaller { address, is_unreadable: true });
        };
        address = hop.to_canonical();
        if !is_trusted(address) {
            break;
        }
    }
    found(address)
}

/// Whether the peer seems to be a proxy that nobody has named in `server.trusted_proxies`: it is on this
/// machine or in a private network, and says for whom it asks, unsigned.
pub(crate) fn is_unknown_proxy(request: &HttpRequest, trusted: &[IpNet]) -> bool {
    let headers = request.headers();
    let forwards = headers.contains_key(FORWARDED_FOR) || headers.contains_key(header::FORWARDED);
    if !forwards || request.extensions().contains::<StatedCaller>() {
        return false;
    }
    let Some(peer) = request.peer_addr().map(|peer| peer.ip().to_canonical()) else { return false };
    let is_near = match peer {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    is_near && !trusted.iter().any(|net| net.contains(&peer))
}

/// Reads an address with or without a port and brackets; none in `unknown` and what hides it.
pub(crate) fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let without_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(without_port).or_else(bracketed)
}

/// Reads the parameter `for` of one element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address_of(node)
}

/// The caller's user agent and network, as a session keeps them.
pub(crate) fn client_info(request: &HttpRequest, address: Option<IpAddr>) -> ClientInfo {
    let user_agent = request.headers().get(header::USER_AGENT).map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let clean = text.chars().filter(|c| !c.is_control());
        let mut kept = String::new();
        for c in clean {
            if kept.len() + c.len_utf8() > MAX_USER_AGENT_BYTES {
                break;
            }
            kept.push(c);
        }
        kept
    });
    ClientInfo { user_agent, ip_prefix: address.map(network_of) }
}

/// The network of an address in CIDR notation: /24 for IPv4, /48 for IPv6.
pub(crate) fn network_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn info(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> Option<String> {
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for value in forwarded {
            request = request.append_header(("x-forwarded-for", *value));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        caller_address(&request.to_http_request(), &trusted).map(network_of)
    }

    #[test]
    fn case_07_forwarded_addresses_of_an_untrusted_peer_are_ignored() {
        let seen = info("203.0.113.9:1", &["198.51.100.7"], &["10.0.0.0/8"]);
        assert_eq!(seen.as_deref(), Some("203.0.113.0/24"));
    }

    #[test]
    fn a_trusted_proxy_names_the_caller_and_a_forged_head_of_the_list_does_not() {
        let seen = |forwarded: &[&'static str]| info("10.0.0.1:1", forwarded, &["10.0.0.0/8"]);
        assert_eq!(seen(&["1.2.3.4, 198.51.100.7"]).as_deref(), Some("198.51.100.0/24"));
        assert_eq!(
            seen(&["1.2.3.4", "198.51.100.7, 10.0.0.2"]).as_deref(),
            Some("198.51.100.0/24")
        );
        assert_eq!(seen(&["1.2.3.4, nonsense"]).as_deref(), Some("10.0.0.0/24"));
        assert_eq!(seen(&[]).as_deref(), Some("10.0.0.0/24"));
        assert_eq!(seen(&["2001:db8:1:2::3"]).as_deref(), Some("2001:db8:1::/48"));
    }

    #[test]
    fn an_address_has_many_shapes() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        let seen = |forwarded: &[&'static str]| info("10.0.0.1:1", forwarded, &proxies);
        let (v4, v6) = (Some("198.51.100.0/24"), Some("2001:db8:1::/48"));
        for (shape, network) in [
            ("198.51.100.7:17085", v4),
            (" 198.51.100.7 ,10.0.0.3", v4),
            ("198.51.100.7,\t[fd00::1]:443", v4),
            ("::ffff:198.51.100.7", v4),
            ("[::ffff:198.51.100.7]:443", v4),
            ("[2001:db8:1:2::3]:443", v6),
            ("[2001:db8:1:2::3]", v6),
            ("\"[2001:db8:1:2::3]\"", v6),
            ("198.51.100.7, unknown", Some("10.0.0.0/24")),
            ("198.51.100.7, 1.2.3", Some("10.0.0.0/24")),
            ("198.51.100.7:99999", Some("10.0.0.0/24")),
            ("198.51.100.7,", Some("10.0.0.0/24")),
            ("", Some("10.0.0.0/24")),
        ] {
            assert_eq!(seen(&[shape]).as_deref(), network, "{shape:?}");
        }
        assert_eq!(seen(&["6.6.6.6", "198.51.100.7:1", "10.9.9.9"]).as_deref(), v4);
    }

    fn request(peer: &str, headers: &[(&'static str, &[u8])]) -> HttpRequest {
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for (name, value) in headers {
            let value = header::HeaderValue::from_bytes(value).unwrap();
            request = request.append_header((*name, value));
        }
        request.to_http_request()
    }

    #[test]
    fn bytes_that_a_client_sends_ahead_do_not_hide_what_the_proxy_adds() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let values: [(_, &[u8]); 2] =
            [("x-forwarded-for", b"6.6.6.6"), ("x-forwarded-for", b"\xe9, 198.51.100.7")];
        let seen = caller_address(&request("10.0.0.1:1", &values), &trusted);
        assert_eq!(seen, "198.51.100.7".parse().ok());
        for value in ["for=\"6.6.6.6, for=198.51.100.7", "for=6.6.6.6;host=\"a, for=198.51.100.7"] {
            let values: [(_, &[u8]); 1] = [("forwarded", value.as_bytes())];
            let seen = caller_address(&request("10.0.0.1:1", &values), &trusted);
            assert_eq!(seen, "198.51.100.7".parse().ok(), "{value}");
        }
    }

    #[test]
    fn forwarded_names_the_caller_where_a_trusted_proxy_sends_no_x_forwarded_for() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let seen = |peer: &str, headers: &[(&'static str, &[u8])]| {
            caller_address(&request(peer, headers), &trusted).unwrap().to_string()
        };
        for (value, address) in [
            ("for=198.51.100.7", "198.51.100.7"),
            ("proto=https;FOR=\"198.51.100.7:4711\";by=10.0.0.1", "198.51.100.7"),
            ("for=6.6.6.6, for=\"[2001:db8::17]:4711\" , for=10.0.0.2", "2001:db8::17"),
            ("for=198.51.100.7, for=unknown", "10.0.0.1"),
            ("for=198.51.100.7, for=_hidden", "10.0.0.1"),
            ("for=198.51.100.7, proto=https", "10.0.0.1"),
            ("nonsense", "10.0.0.1"),
        ] {
            assert_eq!(seen("10.0.0.1:1", &[("forwarded", value.as_bytes())]), address, "{value}");
        }
        let both: [(_, &[u8]); 2] =
            [("forwarded", b"for=6.6.6.6"), ("x-forwarded-for", b"198.51.100.7")];
        assert_eq!(seen("10.0.0.1:1", &both), "198.51.100.7");
        assert_eq!(seen("203.0.113.9:1", &both), "203.0.113.9");
    }

    #[test]
    fn a_near_peer_that_forwards_and_is_not_trusted_is_an_unknown_proxy() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let forwards: [(_, &[u8]); 1] = [("x-forwarded-for", b"198.51.100.7")];
        let says_forwarded: [(_, &[u8]); 1] = [("forwarded", b"for=198.51.100.7")];
        for (peer, headers, is_unknown) in [
            ("127.0.0.1:1", &forwards[..], true),
            ("192.168.1.1:1", &forwards, true),
            ("[::1]:1", &forwards, true),
            ("[fd00::1]:1", &says_forwarded, true),
            ("[::ffff:172.16.0.1]:1", &forwards, true),
            ("127.0.0.1:1", &[], false),
            ("10.0.0.1:1", &forwards, false),
            ("203.0.113.9:1", &forwards, false),
        ] {
            assert_eq!(is_unknown_proxy(&request(peer, headers), &trusted), is_unknown, "{peer}");
        }
    }

    #[test]
    fn a_user_agent_is_bounded_and_cleaned() {
        let long = "ä".repeat(300);
        let request =
            TestRequest::default().insert_header(("user-agent", long.as_bytes())).to_http_request();
        assert_eq!(client_info(&request, None).user_agent, Some("ä".repeat(128)));
    }
}
