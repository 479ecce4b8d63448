//! `[limits]`: what the clients of the public listener can use.

use mintgate_config_reader::{Section, key};

use super::server::network;
use crate::types::{LimitSettings, RateLimitSettings};

/// Reads the section `[limits]`.
pub(crate) fn limits(s: &mut Section<'_>) -> Option<LimitSettings> {
    let max_connections = s.number(
        key(
            "max_connections",
            "The most connections of the public listener. Beyond, Mintgate closes the one that has waited \
             longest for its client to send something. It raises the process's limit of file \
             descriptors as far as it may and leaves a quarter of them to everything else, which can \
             make this number smaller; the log says so.",
        )
        .default(4096),
        16..=1_000_000,
    );
    let max_in_flight = s.number(
        key(
            "max_in_flight",
            "The most requests in progress that ask the store alone, such as refreshes and sign-outs. \
             Mintgate answers further ones at once with 503 `OVERLOADED`. The JWKS and the metadata \
             are always answered.",
        )
        .default(1024),
        1..=1_000_000,
    );
    let max_sign_ins = s.number(
        key(
            "max_sign_ins",
            "The most requests in progress that may wait for a provider: logins that begin, sign-ins, \
             the list of providers; and as many logout tokens of providers. Further ones get 503 \
             `OVERLOADED`. If it is more than 17 times a provider's `max_concurrent`, that provider \
             alone cannot use them up.",
        )
        .default(2048),
        1..=1_000_000,
    );
    let max_slow_bodies = s.number(
        key(
            "max_slow_bodies",
            "The most request bodies that Mintgate waits for, each of up to 32 KiB; it answers further \
             requests with 503 `OVERLOADED` unless their bodies arrive along with their heads.",
        )
        .default(2048),
        1..=1_000_000,
    );
    let max_revocation_streams = s.number(
        key(
            "max_revocation_streams",
            "The most streams at `/revocations` that are open at once, one for each process of a service \
             that follows. Mintgate answers further ones with 503 `OVERLOADED`.",
        )
        .default(256),
        1..=100_000,
    );
    let request_timeout = s.millis(
        key(
            "request_timeout_ms",
            "The longest that the head of a request may take to arrive, and then its body, in \
             milliseconds each.",
        )
        .default(10_000),
        1..=600_000,
    );
    let max_header_bytes = s.number(
        key(
            "max_header_bytes",
            "The most bytes of a request's headers; its first line may have 8 KiB more.",
        )
        .default(16_384),
        1024..=65_536,
    );
    let rate = rate_limits(s);
    Some(LimitSettings {
        max_connections: max_connections? as usize,
        max_in_flight: max_in_flight? as usize,
        max_sign_ins: max_sign_ins? as usize,
        max_slow_bodies: max_slow_bodies? as usize,
        max_revocation_streams: max_revocation_streams? as usize,
        rate: rate?,
        request_timeout: request_timeout?,
        max_header_bytes: max_header_bytes? as usize,
    })
}

fn rate_limits(s: &mut Section<'_>) -> Option<RateLimitSettings> {
    let logins = per_minute(
        s,
        "logins_per_minute",
        "The most logins that one IPv4 address or IPv6 /64 may begin at `/login` in a minute; an IPv6 /48 \
         may begin 16 times as many. They may come all at once. Beyond, Mintgate answers with 429 \
         `RATE_LIMITED` until the next one is due. 0: any number. Callers on this machine are not \
         limited, nor is what comes through a proxy on this machine or in a private network that is not \
         in `server.trusted_proxies`; the log says so.",
        600,
    );
    let sign_ins = per_minute(
        s,
        "sign_ins_per_minute",
        "The same for sign-ins at `/token` and identities that are linked at `/identities`.",
        600,
    );
    let refused_sign_ins = per_minute(
        s,
        "refused_sign_ins_per_minute",
        "The most sign-ins of one IPv4 address or IPv6 /64 whose code or ID token may be refused in a \
         minute, 16 times as many of an IPv6 /48. Beyond, Mintgate answers further ones at `/token` and \
         `/identities` with 429 `RATE_LIMITED` and asks no provider, until a minute after the first. 0: \
         any number. Callers on this machine are limited too; what comes through a proxy that is not in \
         `server.trusted_proxies` is not.",
        60,
    );
    let provider_sign_ins = per_minute(
        s,
        "provider_sign_ins_per_minute",
        "The most sign-ins of all callers at one provider in a minute, shared out: when the number is \
         reached, Mintgate still lets in whoever has had less than an equal share of it, among the IPv4 \
         addresses and IPv6 /48 that sign in there, and at least one sign-in of each. 0: any number. Only \
         sign-ins count that `sign_ins_per_minute` would limit, and none that fails because the \
         provider is down.",
        6000,
    );
    let refused_refreshes = per_minute(
        s,
        "refused_refreshes_per_minute",
        "As `logins_per_minute`, for refresh tokens that are not Mintgate's or have no session. A \
         genuine refresh token is accepted whatever else its network sends.",
        600,
    );
    let refused_logout_tokens = per_minute(
        s,
        "refused_logout_tokens_per_minute",
        "As `logins_per_minute`, for logout tokens of providers that are refused.",
        600,
    );
    let session_refreshes = per_minute(
        s,
        "session_refreshes_per_minute",
        "The most refreshes of one session in a minute, which may come all at once. Only genuine tokens \
         count, and only from callers that `logins_per_minute` would limit. 0: any number.",
        600,
    );
    let refused_admin_tokens = per_minute(
        s,
        "refused_admin_tokens_per_minute",
        "The most tokens of one IPv4 address or IPv6 /64 that the admin API may refuse in a minute, 16 times as \
         many of an IPv6 /48. Beyond, Mintgate answers wrong tokens with 429 `RATE_LIMITED`. A right one is \
         accepted whatever else its network sends. 0: any number. Callers on this machine are limited \
         too.",
        60,
    );
    let exempt = s.list(
        key(
            "exempt",
            "The networks, in CIDR form, whose callers none of the numbers above that are per minute \
             limits.",
        )
        .default([]),
        "list of CIDRs",
        network,
    );
    let shared = s.flag(
        key(
            "shared",
            "Whether the replicas on one Postgres count together for the numbers above that are per minute. If \
             not, each counts for itself, and a caller who goes from one to the next has so many times as \
             much. Each replica tells the others once a second, through the store, what it has counted for \
             callers who use a twentieth of a number or more. If the store is down, each counts for itself. \
             Has no effect with SQLite, which one process serves.",
        )
        .default(false),
    );
    Some(RateLimitSettings {
        logins_per_minute: logins?,
        sign_ins_per_minute: sign_ins?,
        refused_sign_ins_per_minute: refused_sign_ins?,
        provider_sign_ins_per_minute: provider_sign_ins?,
        refused_refreshes_per_minute: refused_refreshes?,
        refused_logout_tokens_per_minute: refused_logout_tokens?,
        session_refreshes_per_minute: session_refreshes?,
        refused_admin_tokens_per_minute: refused_admin_tokens?,
        exempt: exempt?,
        shared: shared?,
    })
}

/// A number of requests a minute.
fn per_minute(
    s: &mut Section<'_>,
    name: &'static str,
    text: &'static str,
    default: i64,
) -> Option<u32> {
    s.number(key(name, text).default(default), 0..=1_000_000)
}
