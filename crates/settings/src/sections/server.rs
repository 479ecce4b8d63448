//! `[server]`, `[ops]`, `[limits]` and `[log]`: the process and its two listeners.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use std::net::SocketAddr;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use crate::rules;
use crate::types::{LimitSettings, LogFormat, LogSettings, OpsSettings, ServerSettings};

/// Reads the section `[server]`. The text is the public URL as it is configured, which our issuer keeps.
pub(crate) fn server(s: &mut Section<'_>) -> Option<(ServerSettings, String)> {
    let listen = s.text(
        key("listen", "The IP address and port that the public listener binds.")
            .default("127.0.0.1:8080"),
        "IP address and port",
        rules::listen_address,
    );
    let local = listen.filter(|l| l.ip().is_loopback()).map(|l| format!("http://{l}"));
    let given = s.is_given("public_url");
    if listen.is_some() && local.is_none() && !given {
        s.missing(
            "public_url",
            "add public_url = \"https://…\", the address clients reach this server by; \
             only on a loopback address it can be left out",
        );
    }
    let public_url = s.text(
        key(
            "public_url",
            "The server's address as clients see it: scheme, host and port, and a path if a proxy \
             serves Mintgate below one. It is `https`, or `http` on a loopback host. Requests are \
             answered with the path and without it. Pages of its origin need no entry in \
             `cors.allowed_origins`.",
        )
        .default_from("`http://` and `listen`, if that is a loopback address", local),
        "URL",
        rules::server_url,
    );
    let trusted_proxies = s.list(
        key(
            "trusted_proxies",
            "The networks of reverse proxies, in CIDR form. Mintgate believes `X-Forwarded-For`, and \
             `Forwarded` where there is no `X-Forwarded-For`, from these peers alone.",
        )
        .default([]),
        "list of CIDRs",
        network,
    );
    let workers = s.number(
        key(
            "workers",
            "The number of worker threads of the public listener. 0 means one for each core.",
        )
        .default(0),
        0..=1024,
    );
    let (text, public_url) = public_url?;
    let settings = ServerSettings {
        listen: listen?,
        public_url,
        trusted_proxies: trusted_proxies?,
        workers: workers? as usize,
    };
    Some((settings, text))
}

/// Reads the section `[ops]`.
pub(crate) fn ops(s: &mut Section<'_>, public: Option<SocketAddr>) -> Option<OpsSettings> {
    let listen = s.text(
        key(
            "listen",
            "The IP address and port of the operations listener, which serves metrics and health. It \
             must differ from `server.listen`.",
        )
        .default("127.0.0.1:9464"),
        "IP address and port",
        rules::listen_address,
    );
    if let (Some(ops), Some(public)) = (listen, public)
        && collide(ops, public)
    {
        let problem = format!("server.listen has this address already ({public}).");
        s.reject("listen", invalid(problem, "choose another port for one of them"));
    }
    Some(OpsSettings { listen: listen? })
}

/// Whether two sockets cannot both be bound. Port 0 stands for any free port.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap
}

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
    let refused_sign_ins = s.number(
        key(
            "refused_sign_ins_per_minute",
            "The most sign-ins of one IPv4 address or IPv6 /64 whose code or ID token may be refused \
             in a minute. Beyond, Mintgate answers further ones at `/token` and `/identities` with \
             429 `RATE_LIMITED` and asks no provider. 0: any number. It is not applied to what comes \
             through a proxy on this machine or in a private network that is not in \
             `server.trusted_proxies`; the log says so.",
        )
        .default(60),
        0..=1_000_000,
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
    Some(LimitSettings {
        max_connections: max_connections? as usize,
        max_in_flight: max_in_flight? as usize,
        max_sign_ins: max_sign_ins? as usize,
        max_slow_bodies: max_slow_bodies? as usize,
        refused_sign_ins_per_minute: refused_sign_ins? as u32,
        request_timeout: request_timeout?,
        max_header_bytes: max_header_bytes? as usize,
    })
}

/// Reads the section `[log]`.
pub(crate) fn log(s: &mut Section<'_>) -> Option<LogSettings> {
    let format = s.choice(
        key("format", "`json`: each line is a JSON object. `pretty`: lines are texts for people.")
            .default("json"),
        &[("json", LogFormat::Json), ("pretty", LogFormat::Pretty)],
    );
    let filter = s.text(
        key(
            "filter",
            "Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by \
             module such as `mintgate=debug,info`.",
        )
        .default("info,actix_server=warn,actix_http=off"),
        "filter",
        |text| match EnvFilter::builder().parse(text) {
            Ok(_) => rules::non_empty(text),
            Err(e) => Err(invalid(
                format!("This is not a filter: {e}."),
                "write a level (error, warn, info, debug, trace), or module=level pairs with \
                 commas between them",
            )),
        },
    );
    Some(LogSettings { format: format?, filter: filter? })
}

fn network(text: &str) -> Result<IpNet, Invalid> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        let fix = format!("write \"{}\" for this one address", IpNet::from(address));
        return Err(invalid("This is an address, not a network.", fix));
    }
    let net: IpNet = text.parse().map_err(|_| {
        let fix = "write for example \"10.0.0.0/8\" or \"fd00::/8\"";
        invalid("This is not a network in CIDR form.", fix)
    })?;
    if net.trunc() != net {
        let problem = "This network has bits set beyond its prefix.";
        return Err(invalid(problem, format!("write \"{}\"", net.trunc())));
    }
    Ok(net)
}
