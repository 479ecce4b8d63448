//! The experiments: what each runs on, which fault it injects, and how often.

use std::time::Duration;

use super::journal::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Postgres,
    Sqlite,
    /// On a small file system that can be filled.
    SqliteOnDiskOfItsOwn,
}

impl Store {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::Sqlite | Self::SqliteOnDiskOfItsOwn => "SQLite",
        }
    }
}

/// How long the experiments take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Full,
    /// The same faults, fewer and shorter, to test every change with.
    Short,
}

/// A fault. `times` says how often it is injected, `during` how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// This many of a thousand answers to clients get lost.
    AnswersLost { per_mille: u64, during: Duration },
    /// This many of a thousand statements commit and are not answered: the connection is cut.
    CutAfterCommit { per_mille: u64, during: Duration },
    /// The service is killed and started again.
    ServiceKilled { times: u64 },
    /// Postgres stops as in a crash and starts again after `down` milliseconds (least and most).
    PostgresRestarted { times: u64, down: [u64; 2] },
    /// Postgres' processes are stopped (SIGSTOP) for a while.
    PostgresPaused { times: u64, during: Duration },
    /// Other clients hold all of Postgres' connections.
    ConnectionsTaken { times: u64, during: Duration },
    /// The only provider's process is stopped (SIGSTOP) for a while.
    ProviderPaused { during: Duration },
    /// One of two providers is stopped; the experiment has a load of its own (`isolation.rs`).
    OneProviderPaused { during: Duration },
    /// One of the replicas is killed and started again; answers to clients get lost too.
    ReplicaKilled { times: u64, per_mille: u64, during: Duration },
    /// All answers get lost for a moment, and then nothing gets through for longer than the grace
    /// window.
    LongOutage { times: u64, during: Duration },
    /// The database's disk is full.
    DiskFull { times: u64, during: Duration },
    /// Somebody uses up what requests need; the experiment has a load of its own (`overload.rs`).
    Overload { by: Overload, during: Duration },
}

/// What somebody uses up, for as long as the fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overload {
    /// This many connections that send a head and the first byte of a body.
    SlowBodies(usize),
    /// This many sign-ins at a time with codes of a provider that hangs.
    CodesAtHangingProvider(usize),
    /// This many connections that send nothing.
    IdleConnections(usize),
    /// The pipe that the log goes to, which nobody reads.
    LogPipe,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) store: Store,
    pub(super) replicas: u64,
    /// The lines of the section `[refresh]`.
    pub(super) refresh: &'static str,
    /// Which lines are logged.
    pub(super) log_filter: &'static str,
    pub(super) fault: Fault,
    /// Recovery is measured to the first 200 for this kind of request; none for a fault that has no
    /// moment at which it ends.
    pub(super) recovers_with: Option<Kind>,
    /// Whether only logins may be affected.
    pub(super) spares_sessions: bool,
    /// Whether the experiment may pass although no client noticed the fault.
    pub(super) goes_unnoticed: bool,
    /// Whether the grace window is too short for tabs that go on sending an old token.
    pub(super) short_window: bool,
    /// Whether it fails with a store that checks first and writes later.
    pub(super) catches_sabotage: bool,
    /// Whether answers must also be fast.
    pub(super) judges_speed: bool,
}

const BASE: Plan = Plan {
    name: "",
    store: Store::Postgres,
    replicas: 1,
    refresh: "",
    log_filter: "info",
    fault: Fault::ServiceKilled { times: 0 },
    recovers_with: Some(Kind::Refresh),
    spares_sessions: false,
    goes_unnoticed: false,
    short_window: false,
    catches_sabotage: false,
    judges_speed: false,
};

/// All experiments, in this form.
pub(super) fn all(form: Form) -> Vec<Plan> {
    let times = |full, short| if form == Form::Full { full } else { short };
    let millis = |full, short| Duration::from_millis(times(full, short));
    let overload = |name, by| Plan {
        name,
        store: Store::Sqlite,
        fault: Fault::Overload { by, during: millis(20_000, 2_000) },
        recovers_with: None,
        goes_unnoticed: true,
        judges_speed: form == Form::Full,
        ..BASE
    };
    vec![
        Plan {
            name: "answers-lost",
            fault: Fault::AnswersLost { per_mille: 200, during: millis(30_000, 4_000) },
            recovers_with: None,
            catches_sabotage: true,
            ..BASE
        },
        Plan {
            name: "cut-after-commit",
            fault: Fault::CutAfterCommit { per_mille: 250, during: millis(30_000, 4_000) },
            recovers_with: None,
            // The service repeats the statement and is told what the first attempt did.
            goes_unnoticed: true,
            catches_sabotage: true,
            ..BASE
        },
        Plan {
            name: "service-killed",
            fault: Fault::ServiceKilled { times: times(200, 10) },
            ..BASE
        },
        Plan {
            name: "postgres-restarted",
            // Some must last longer than the service waits for a connection, or no client notices.
            fault: Fault::PostgresRestarted {
                times: times(20, 2),
                down: [times(50, 1500), times(600, 2000)],
            },
            ..BASE
        },
        Plan {
            name: "postgres-paused",
            fault: Fault::PostgresPaused { times: 1, during: millis(30_000, 3_000) },
            ..BASE
        },
        Plan {
            name: "connections-taken",
            fault: Fault::ConnectionsTaken { times: times(5, 1), during: millis(5_000, 3_000) },
            ..BASE
        },
        Plan {
            name: "provider-paused",
            fault: Fault::ProviderPaused { during: millis(60_000, 7_000) },
            recovers_with: Some(Kind::Login),
            spares_sessions: true,
            ..BASE
        },
        Plan {
            name: "one-provider-paused",
            store: Store::Sqlite,
            fault: Fault::OneProviderPaused { during: millis(60_000, 5_000) },
            recovers_with: Some(Kind::Login),
            spares_sessions: true,
            ..BASE
        },
        Plan {
            name: "two-replicas",
            replicas: 2,
            fault: Fault::ReplicaKilled {
                times: times(20, 3),
                per_mille: 50,
                during: millis(30_000, 4_000),
            },
            catches_sabotage: true,
            ..BASE
        },
        Plan {
            name: "long-outage",
            refresh: "grace_secs = 1",
            short_window: true,
            fault: Fault::LongOutage { times: times(5, 1), during: millis(3_000, 2_000) },
            ..BASE
        },
        Plan {
            name: "sqlite-killed",
            store: Store::Sqlite,
            fault: Fault::ServiceKilled { times: times(100, 8) },
            ..BASE
        },
        Plan {
            name: "sqlite-disk-full",
            store: Store::SqliteOnDiskOfItsOwn,
            fault: Fault::DiskFull { times: times(3, 1), during: millis(5_000, 2_000) },
            ..BASE
        },
        overload("slow-bodies", Overload::SlowBodies(1100)),
        overload("codes-at-hanging-provider", Overload::CodesAtHangingProvider(1100)),
        // More than twice as many as `limits.max_connections` lets in.
        overload("idle-connections", Overload::IdleConnections(10_000)),
        Plan { log_filter: "trace", ..overload("log-pipe-blocked", Overload::LogPipe) },
    ]
}
