//! Addresses for programs that must be told where to listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// The lowest port; well-known services listen below.
const LOWEST: u16 = 10_000;

/// How many ports were tried.
static TRIED: AtomicU32 = AtomicU32::new(0);

/// Loopback addresses with free ports, none of which this process has handed out before.
///
/// The ports are below those that the system gives to whoever connects or asks for any port: nothing takes
/// one before the program that it is meant for listens, or while that program is restarted.
///
/// # Panics
/// If no port is left.
pub fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    [(); N].map(|()| free_address())
}

fn free_address() -> SocketAddr {
    let count = u32::from(lowest_ephemeral_port() - LOWEST);
    loop {
        let number = TRIED.fetch_add(1, Ordering::Relaxed);
        assert!(number < count, "every port from {LOWEST} on was tried");
        // Processes that run at the same time begin at different ports.
        let offset = std::process::id().wrapping_mul(97).wrapping_add(number) % count;
        let port = LOWEST + u16::try_from(offset).expect("less than a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The lowest port that the system gives to whoever connects; the usual one if that leaves too few.
fn lowest_ephemeral_port() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let lowest = range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    lowest.filter(|lowest| *lowest > LOWEST + 1000).unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_address_is_handed_out_twice_and_none_is_a_clients() {
        let handed_out = [free_addresses::<20>(), free_addresses()].concat();
        let ports: HashSet<u16> = handed_out.iter().map(SocketAddr::port).collect();
        assert_eq!(ports.len(), 40);
        assert!(ports.iter().all(|port| *port < lowest_ephemeral_port()), "{ports:?}");
    }
}
