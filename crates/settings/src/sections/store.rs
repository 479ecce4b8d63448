//! `[store]`: the store of users and sessions.

use mintgate_config_reader::{Invalid, Section, invalid, key, nearest};
use std::path::PathBuf;

use mintgate_domain::SecretText;

use crate::types::{Pooling, SessionSettings, StoreSettings, StoreUrl};

/// The names of the TLS modes, which are libpq's.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// Reads the section `[store]`.
pub(crate) fn store(
    s: &mut Section<'_>,
    sessions: Option<SessionSettings>,
) -> Option<StoreSettings> {
    let url = s.text_or_file(
        key(
            "url",
            "The address of the store: `sqlite://PATH`, or `postgres://user:password@host/database` \
             with an optional `?sslmode=` `disable`, `prefer`, `require`, `verify-ca` or \
             `verify-full`, and the files `sslrootcert`, `sslcert` and `sslkey`, as libpq has them. \
             Several hosts, separated by commas, are tried one after another.",
        )
        .default("sqlite://mintgate.db"),
        "URL",
        store_url,
    );
    let pool_size = s.number(
        key("pool_size", "The most connections to Postgres for requests; readiness has one more.")
            .default(10),
        1..=1000,
    );
    let connect_timeout = s.millis(
        key(
            "connect_timeout_ms",
            "The longest that a request waits for a connection to Postgres, in milliseconds.",
        )
        .default(2000),
        1..=60_000,
    );
    let statement_timeout = s.millis(
        key(
            "statement_timeout_ms",
            "The longest that one statement of the store may take, in milliseconds.",
        )
        .default(5000),
        1..=600_000,
    );
    let pooling = s.choice(
        key(
            "pooling",
            "How a pooler such as PgBouncer lends Mintgate its connections to Postgres. `session`: \
             there is none, or each connection has one for as long as it is open. `transaction`: for \
             one transaction; every call is a transaction then, with four round trips instead of one, \
             and no prepared statement outlives it. `auto`: as `session`, until \
             Mintgate finds out otherwise.",
        )
        .default("auto"),
        &[
            ("auto", Pooling::Auto),
            ("session", Pooling::Session),
            ("transaction", Pooling::Transaction),
        ],
    );
    let keep_ended = s.days(
        key(
            "keep_ended_days",
            "How many days an ended session is kept, so that Mintgate can tell when and why it ended, \
             before it is deleted. 0 deletes it at the next clean-up.",
        )
        .default(30),
        0..=3650,
    );
    let cleanup_interval = s.seconds(
        key(
            "cleanup_interval_secs",
            "The time between two clean-ups, whichever replica does them, in seconds. A clean-up marks \
             expired sessions as ended and deletes what is no longer needed.",
        )
        .default(60),
        1..=86_400,
    );
    Some(StoreSettings {
        url: url?,
        pool_size: pool_size?,
        connect_timeout: connect_timeout?,
        statement_timeout: statement_timeout?,
        pooling: pooling?,
        keep_ended: keep_ended?,
        cleanup_interval: cleanup_interval?,
        sessions: sessions?,
    })
}

fn store_url(text: &str) -> Result<StoreUrl, Invalid> {
    match text.split_once("://") {
        Some(("sqlite", path)) => sqlite_path(path).map(StoreUrl::Sqlite),
        Some(("postgres" | "postgresql", rest)) => {
            postgres_rest(rest).map(|()| StoreUrl::Postgres(SecretText::new(text)))
        }
        _ => {
            let fix = "write \"sqlite://mintgate.db\" or \"postgres://user@host/database\"";
            Err(invalid("This is not the address of a store.", fix))
        }
    }
}

fn sqlite_path(path: &str) -> Result<PathBuf, Invalid> {
    let fix =
        "write for example \"sqlite://mintgate.db\" or \"sqlite:///var/lib/mintgate/mintgate.db\"";
    if path.is_empty() {
        return Err(invalid("The path of the database file is missing.", fix));
    }
    if path.starts_with(":memory:") {
        return Err(invalid("A database in memory forgets every session at the end.", fix));
    }
    if path.contains(['?', '#', '\0']) {
        return Err(invalid("The path of the database file takes no options.", fix));
    }
    Ok(PathBuf::from(path))
}

/// Checks what the driver would refuse only at the first connection. The URL parser cannot do it: it
/// supports neither several hosts nor sockets.
fn postgres_rest(rest: &str) -> Result<(), Invalid> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = address.split('/').next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    for host in hosts.split(',') {
        // The last colon, unless it is inside an IPv6 address.
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|p| !p.ends_with(']'));
        if port.is_some_and(|p| p.parse::<u16>().is_err()) {
            return Err(invalid(
                "The port is not a number.",
                "percent-encode / ? # and @ in the password; the form is \
                 postgres://user:password@host:5432/database",
            ));
        }
    }
    let parameters = || query.split('&').filter_map(|pair| pair.split_once('='));
    if hosts.is_empty() && !parameters().any(|(name, _)| name == "host") {
        let fix = "write postgres://user:password@host/database";
        return Err(invalid("The host is missing.", fix));
    }
    for (_, mode) in parameters().filter(|(name, _)| *name == "sslmode") {
        if !SSL_MODES.contains(&mode) {
            let hint = nearest(mode, SSL_MODES).map(|m| format!("did you mean {m}? "));
            let fix =
                format!("{}sslmode is one of {}", hint.unwrap_or_default(), SSL_MODES.join(", "));
            return Err(invalid(format!("There is no sslmode {mode:?}."), fix));
        }
    }
    Ok(())
}
