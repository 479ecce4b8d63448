//! The networks that IP addresses belong to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network that an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The public internet.
    Public,
    /// The machine itself.
    Loopback,
    /// A private network (RFC 1918, RFC 4193, the shared space of RFC 6598).
    Private,
    /// The local link (RFC 3927, RFC 4291 §2.5.6), where clouds serve their credentials.
    LinkLocal,
    /// No network that a server can be in: unspecified, multicast, broadcast, documentation, benchmarks,
    /// reserved, or an IPv6 address that embeds an IPv4 address that is not public.
    Unusable,
}

/// The network of an address. An IPv4-mapped IPv6 address counts as its IPv4 address.
pub(crate) fn scope(ip: IpAddr) -> Scope {
    match ip.to_canonical() {
        IpAddr::V4(ip) => scope_v4(ip),
        IpAddr::V6(ip) => scope_v6(ip),
    }
}

/// Follows the IANA registry of special-purpose IPv4 addresses (RFC 6890).
fn scope_v4(ip: Ipv4Addr) -> Scope {
    match ip.octets() {
        [127, ..] => Scope::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Scope::Private,
        [169, 254, ..] => Scope::LinkLocal,
        [0 | 224..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Scope::Unusable,
        _ => Scope::Public,
    }
}

/// Only global unicast (2000::/3) without its special parts is public; what is not known to be local is
/// unusable.
fn scope_v6(ip: Ipv6Addr) -> Scope {
    let segments = ip.segments();
    let [.., c, d] = ip.octets();
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => return Scope::Loopback,
        [0xfc00..=0xfdff, ..] => return Scope::Private,
        [0xfe80..=0xfebf, ..] => return Scope::LinkLocal,
        // Teredo, ORCHID, benchmarks, documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => return Scope::Unusable,
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the embedded IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, _] => (high, [c, d]),
        [0x2002, high, low, ..] => (high, low.to_be_bytes()),
        [0x2000..=0x3fff, ..] => return Scope::Public,
        _ => return Scope::Unusable,
    };
    let (high, [c, d]) = embedded;
    let [a, b] = high.to_be_bytes();
    match scope_v4(Ipv4Addr::new(a, b, c, d)) {
        Scope::Public => Scope::Public,
        _ => Scope::Unusable,
    }
}
