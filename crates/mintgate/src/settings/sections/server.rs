//! `[server]`, `[ops]`, `[limits]` and `[log]`: the process and its two listeners.

use std::net::SocketAddr;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use crate::settings::key::key;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::rules;
use crate::settings::source::Value;
use crate::settings::types::{LimitSettings, LogFormat, LogSettings, OpsSettings, ServerSettings};

/// Reads `[server]`; the text is the public URL as it is written.
pub(in crate::settings) fn server(s: &mut Section<'_>) -> Option<(ServerSettings, String)> {
    let listen = s.text(
        key("listen", "Where the public listener binds.").or("127.0.0.1:8080"),
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
            "This server's address as clients see it: scheme, host and port. `https`, but for \
             `http` on a loopback host. Its origin is our own for CORS and CSRF.",
        )
        .or_derived("`http://` and `listen`, if that is loopback", local.map(Value::Text)),
        "URL",
        rules::server_url,
    );
    let trusted_proxies = s.list(
        key(
            "trusted_proxies",
            "The networks of reverse proxies: `X-Forwarded-*` counts from these peers alone.",
        )
        .or([]),
        "list of CIDRs",
        network,
    );
    let workers = s.number(
        key("workers", "Worker threads of the public listener; 0 is one for each core.").or(0),
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

/// Reads `[ops]`.
pub(in crate::settings) fn ops(
    s: &mut Section<'_>,
    public: Option<SocketAddr>,
) -> Option<OpsSettings> {
    let listen = s.text(
        key("listen", "Where metrics and health are served; not the public listener's address.")
            .or("127.0.0.1:9464"),
        "IP address and port",
        rules::listen_address,
    );
    if let (Some(ops), Some(public)) = (listen, public)
        && collide(ops, public)
    {
        let problem = format!("server.listen has this address already ({public}).");
        s.blame("listen", flaw(problem, "choose another port for one of them"));
    }
    Some(OpsSettings { listen: listen? })
}

/// Whether two sockets cannot both be bound; port 0 is always a free one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap
}

/// Reads `[limits]`.
pub(in crate::settings) fn limits(s: &mut Section<'_>) -> Option<LimitSettings> {
    let max_in_flight = s.number(
        key(
            "max_in_flight",
            "Requests worked on at once on the public listener; more are answered 503 \
             `OVERLOADED` at once.",
        )
        .or(1024),
        1..=1_000_000,
    );
    let request_timeout = s.millis(
        key("request_timeout_ms", "How long a request's head, and then its body, may take.")
            .or(10_000),
        1..=600_000,
    );
    let max_header_bytes = s.number(
        key("max_header_bytes", "Bytes of a request's headers at most.").or(16_384),
        1024..=65_536,
    );
    Some(LimitSettings {
        max_in_flight: max_in_flight? as usize,
        request_timeout: request_timeout?,
        max_header_bytes: max_header_bytes? as usize,
    })
}

/// Reads `[log]`.
pub(in crate::settings) fn log(s: &mut Section<'_>) -> Option<LogSettings> {
    let format = s.choice(
        key("format", "One JSON object a line, or lines for people.").or("json"),
        &[("json", LogFormat::Json), ("pretty", LogFormat::Pretty)],
    );
    let filter = s.text(
        key("filter", "Which lines: a level, or levels by module: `mintgate=debug,info`.")
            .or("info,actix_server=warn"),
        "filter",
        |text| match EnvFilter::builder().parse(text) {
            Ok(_) => rules::non_empty(text),
            Err(e) => Err(flaw(
                format!("This is not a filter: {e}."),
                "write a level (error, warn, info, debug, trace), or module=level pairs with \
                 commas between them",
            )),
        },
    );
    Some(LogSettings { format: format?, filter: filter? })
}

fn network(text: &str) -> Result<IpNet, Flaw> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        let fix = format!("write \"{}\" for this one address", IpNet::from(address));
        return Err(flaw("This is an address, not a network.", fix));
    }
    let net: IpNet = text.parse().map_err(|_| {
        let fix = "write for example \"10.0.0.0/8\" or \"fd00::/8\"";
        flaw("This is not a network in CIDR form.", fix)
    })?;
    if net.trunc() != net {
        let problem = "This network has bits set beyond its prefix.";
        return Err(flaw(problem, format!("write \"{}\"", net.trunc())));
    }
    Ok(net)
}
