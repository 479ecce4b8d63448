//! What kind of place an IP address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anywhere on the internet.
    Public,
    /// This machine.
    Loopback,
    /// A private network (RFC 1918, RFC 4193, the shared space of RFC 6598).
    Private,
    /// The link we are on (RFC 3927, RFC 4291 §2.5.6), where clouds keep their credentials.
    LinkLocal,
    /// Nowhere a provider can be: unspecified, multicast, broadcast, documentation, benchmarks,
    /// reserved, or an IPv4 address that is not public inside an IPv6 one.
    Never,
}

/// Where an address leads; an IPv4 address inside an IPv6 one leads where it says.
pub(crate) fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

/// The IANA registry of special-purpose IPv4 addresses (RFC 6890).
fn reach_v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        [127, ..] => Reach::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Reach::Private,
        [169, 254, ..] => Reach::LinkLocal,
        [0 | 224..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Reach::Never,
        _ => Reach::Public,
    }
}

/// Global unicast (2000::/3) without its special parts, and what is known to be local;
/// all the rest is nowhere.
fn reach_v6(ip: Ipv6Addr) -> Reach {
    let segments = ip.segments();
    let [.., c, d] = ip.octets();
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => return Reach::Loopback,
        [0xfc00..=0xfdff, ..] => return Reach::Private,
        [0xfe80..=0xfebf, ..] => return Reach::LinkLocal,
        // Teredo, ORCHID, benchmarks, documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => return Reach::Never,
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, _] => (high, [c, d]),
        [0x2002, high, low, ..] => (high, low.to_be_bytes()),
        [0x2000..=0x3fff, ..] => return Reach::Public,
        _ => return Reach::Never,
    };
    let (high, [c, d]) = embedded;
    let [a, b] = high.to_be_bytes();
    match reach_v4(Ipv4Addr::new(a, b, c, d)) {
        Reach::Public => Reach::Public,
        _ => Reach::Never,
    }
}
