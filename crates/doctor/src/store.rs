//! The store: reachable, current, writable, with a clock that agrees, and pooled as configured.

use mintgate_domain::chain;
use mintgate_domain::ports::{DiskSpace, ServerFacts, StoreError, StoreFacts};
use mintgate_settings::{Pooling, StoreSettings};

use crate::finding::Finding;

/// The largest difference between two clocks that nobody notices, in milliseconds.
const MAX_CLOCK_DIFFERENCE_MILLIS: u64 = 5_000;
/// With less room on the disk, in bytes, or with less than a fiftieth of it, it will be full soon.
const LEAST_ROOM: u64 = 256 * 1024 * 1024;
/// The connections to Postgres that a process has besides its pool: for searches, for readiness and for
/// refused calls.
const MORE_CONNECTIONS: u32 = 4;

/// The findings about a store that was looked at.
pub(crate) fn judge(
    settings: &StoreSettings,
    examined: &Result<StoreFacts, StoreError>,
) -> Vec<Finding> {
    let facts = match examined {
        Err(error) => return vec![unreachable(&chain(error).to_string())],
        Ok(facts) => facts,
    };
    let mut findings = vec![Finding::good("store.reachable", "the store answers")];
    findings.push(schema(&facts.pending));
    if facts.pending.is_empty() {
        findings.push(writable(&facts.written));
    }
    if let Some(server) = &facts.server {
        findings.extend([
            clock(server.clock_ahead_millis),
            pooling(settings.pooling, server),
            connections(settings, server, facts.replicas.len()),
            tls(server),
        ]);
    }
    findings.extend(facts.disk.map(|space| disk("store.disk", "the database file", space)));
    findings
}

/// The finding about a store that does not answer, or cannot be opened.
pub(crate) fn unreachable(reason: &str) -> Finding {
    Finding::wrong(
        "store.reachable",
        format!("the store does not answer: {reason}"),
        "without it nobody can sign in or refresh, and the service is not ready",
        "check store.url, the network between this machine and the store, and that the store runs",
    )
}

/// The finding about an SQLite file that is not there.
pub(crate) fn missing(path: &std::path::Path) -> Finding {
    Finding::wrong(
        "store.reachable",
        format!("there is no database file {}", path.display()),
        "the service makes an empty one, in which nobody has a session",
        "run this in the working directory, with the configuration and as the user of the service; for a \
         new installation run `mintgate migrate`",
    )
}

fn schema(pending: &[String]) -> Finding {
    if pending.is_empty() {
        return Finding::good("store.schema", "no migration is pending");
    }
    Finding::wrong(
        "store.schema",
        format!("the schema lacks {}", pending.join(", ")),
        "the service is not ready until the schema is current",
        "run `mintgate migrate`",
    )
}

fn writable(written: &Result<(), StoreError>) -> Finding {
    match written {
        Ok(()) => Finding::good("store.writable", "a row could be written"),
        Err(error) => Finding::wrong(
            "store.writable",
            format!("no row can be written: {}", chain(error)),
            "sign-ins and refreshes are answered with 503",
            "connect to the primary server with a role that owns the tables; for a file, check its \
             permissions, its owner and the room on its disk",
        ),
    }
}

fn clock(ahead_millis: i64) -> Finding {
    let seconds = ahead_millis / 1000;
    if ahead_millis.unsigned_abs() <= MAX_CLOCK_DIFFERENCE_MILLIS {
        let what = format!("the clocks of this machine and of the database differ by {seconds} s");
        return Finding::good("store.clock", what);
    }
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    Finding::wrong(
        "store.clock",
        format!("the database's clock is {} s {direction} this machine's", seconds.abs()),
        "tokens are issued by one clock and the grace window is measured by the other; verifiers refuse \
         tokens from the future",
        "synchronise both machines by NTP (`timedatectl` shows whether a machine does)",
    )
}

fn pooling(configured: Pooling, server: &ServerFacts) -> Finding {
    const CHECK: &str = "store.pooling";
    match (configured, server.is_lent) {
        (Pooling::Session, true) => Finding::wrong(
            CHECK,
            "a pooler lends each transaction another Postgres process, and store.pooling is \"session\"",
            "statements that were prepared on one process are refused by the next: requests fail at random",
            "set store.pooling = \"transaction\", or have the pooler pool by session",
        ),
        (Pooling::Transaction, false) => Finding::cannot_be_told(
            CHECK,
            "store.pooling is \"transaction\", and no pooler was noticed",
            "each call takes four round trips instead of one; a busy pooler is not always noticed",
            "without a pooler, or with one that pools by session, set store.pooling = \"session\"",
        ),
        (Pooling::Auto, true) => Finding::good(
            CHECK,
            "a pooler lends its processes by transaction, which store.pooling = \"auto\" finds out; \
             \"transaction\" spares it the search",
        ),
        (_, true) => {
            Finding::good(CHECK, "the pooler lends its processes by transaction, as configured")
        }
        (_, false) => Finding::good(CHECK, "each connection has a Postgres process of its own"),
    }
}

fn connections(settings: &StoreSettings, server: &ServerFacts, replicas: usize) -> Finding {
    const CHECK: &str = "store.connections";
    let processes = u32::try_from(replicas.max(1)).unwrap_or(u32::MAX);
    let needed = settings.pool_size.saturating_add(MORE_CONNECTIONS).saturating_mul(processes);
    let most = server.max_connections;
    let what = format!("{processes} process(es) use up to {needed} connections of {most}");
    if needed <= most || server.is_lent {
        return Finding::good(CHECK, what);
    }
    Finding::wrong(
        CHECK,
        what,
        "under load the server refuses connections, also those of other programs",
        "lower store.pool_size, raise max_connections of the server or the role's limit, or put a pooler \
         between",
    )
}

fn tls(server: &ServerFacts) -> Finding {
    if !server.is_in_clear {
        return Finding::good(
            "store.tls",
            "what is sent to the database cannot be read on the way",
        );
    }
    Finding::wrong(
        "store.tls",
        "the connection to the database leaves this machine without TLS",
        "whoever can read the traffic sees people's data, and can change it",
        "switch TLS on in the server, and add sslmode=verify-full to store.url",
    )
}

/// Whether there is room on the disk of something.
pub(crate) fn disk(check: &'static str, of: &str, space: DiskSpace) -> Finding {
    let DiskSpace { free, size } = space;
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let what = format!("{} MiB of {} MiB are free on the disk of {of}", mib(free), mib(size));
    if free >= LEAST_ROOM && free >= size / 50 {
        return Finding::good(check, what);
    }
    Finding::wrong(
        check,
        what,
        "on a full disk nothing can be written, and nobody can sign in or refresh",
        "make room, or move it to another disk",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    const SERVER: ServerFacts = ServerFacts {
        clock_ahead_millis: 0,
        is_lent: false,
        is_in_clear: false,
        max_connections: 97,
    };

    #[test]
    fn clocks_may_differ_by_five_seconds_either_way() {
        for good in [0, 5_000, -5_000] {
            assert_eq!(clock(good).verdict, Verdict::Good, "{good}");
        }
        for wrong in [5_001, -5_001, i64::MIN, i64::MAX] {
            assert_eq!(clock(wrong).verdict, Verdict::Wrong, "{wrong}");
        }
    }

    #[test]
    fn a_connection_in_clear_to_another_machine_is_wrong() {
        assert_eq!(tls(&SERVER).verdict, Verdict::Good);
        assert_eq!(tls(&ServerFacts { is_in_clear: true, ..SERVER }).verdict, Verdict::Wrong);
    }

    #[test]
    fn a_disk_needs_room_in_bytes_and_in_proportion() {
        let gib = 1024 * 1024 * 1024;
        let verdict = |free, size| disk("store.disk", "it", DiskSpace { free, size }).verdict;
        assert_eq!(verdict(gib, 10 * gib), Verdict::Good);
        assert_eq!(verdict(gib / 8, gib), Verdict::Wrong);
        assert_eq!(verdict(gib, 100 * gib), Verdict::Wrong);
    }
}
