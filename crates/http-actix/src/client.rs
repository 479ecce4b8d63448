//! The caller's address and user agent, as far as they can be believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::HttpRequest;
use actix_web::http::header;
use ipnet::IpNet;
use mintgate_domain::model::ClientInfo;

const MAX_USER_AGENT_BYTES: usize = 256;

/// The caller's address: that of the peer or, if the peer is a trusted proxy, the last address in
/// `X-Forwarded-For` that is not a trusted proxy.
pub(crate) fn caller_address(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut address = request.peer_addr()?.ip().to_canonical();
    if !is_trusted(address) {
        return Some(address);
    }
    let forwarded: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in forwarded.iter().rev() {
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        address = hop.to_canonical();
        if !is_trusted(address) {
            break;
        }
    }
    Some(address)
}

/// The caller's user agent and network, as a session keeps them.
pub(crate) fn client_info(request: &HttpRequest, trusted: &[IpNet]) -> ClientInfo {
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
    ClientInfo { user_agent, ip_prefix: caller_address(request, trusted).map(prefix) }
}

/// The network of an address in CIDR notation: /24 for IPv4, /48 for IPv6.
fn prefix(address: IpAddr) -> String {
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
        client_info(&request.to_http_request(), &trusted).ip_prefix
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
    fn a_user_agent_is_bounded_and_cleaned() {
        let long = "ä".repeat(300);
        let request =
            TestRequest::default().insert_header(("user-agent", long.as_bytes())).to_http_request();
        assert_eq!(client_info(&request, &[]).user_agent, Some("ä".repeat(128)));
    }
}
