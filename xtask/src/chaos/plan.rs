//! The experiments: what each runs on, what is done to it, and how often.

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

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Full,
    /// For every change: the same faults, fewer and shorter.
    Short,
}

/// What is done. All times are how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Of a thousand answers to clients, so many get lost.
    AnswersLost { per_mille: u64, during: Duration },
    /// Of a thousand statements, so many commit and are not answered: the connection is cut.
    CutAfterCommit { per_mille: u64, during: Duration },
    /// The service is killed and started again.
    ServiceKilled { times: u64 },
    /// Postgres stops as in a crash and, so many milliseconds later, from and to, starts again.
    PostgresRestarted { times: u64, down: [u64; 2] },
    /// Postgres' processes stand still.
    PostgresPaused { times: u64, during: Duration },
    /// Others have all of Postgres' connections.
    ConnectionsTaken { times: u64, during: Duration },
    /// The provider's process stands still.
    ProviderPaused { during: Duration },
    /// One of the replicas is killed, and started again; the clients' lines lose answers too.
    ReplicaKilled { times: u64, per_mille: u64, during: Duration },
    /// All answers get lost for a moment, and then nothing gets through for longer than the grace window.
    LongOutage { times: u64, during: Duration },
    /// There is no room for another byte.
    DiskFull { times: u64, during: Duration },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) store: Store,
    pub(super) replicas: u64,
    /// The section `[refresh]`.
    pub(super) refresh: &'static str,
    pub(super) fault: Fault,
    /// The first 200 to this tells that a fault is over; none where there is no moment that it ends at.
    pub(super) recovers_with: Option<Kind>,
    /// Whether only sign-ins may notice anything.
    pub(super) spares_sessions: bool,
    /// Whether the service may deal with it so well that no client notices.
    pub(super) goes_unnoticed: bool,
    /// Whether the grace window is too short for tabs that go on asking with an old token.
    pub(super) short_window: bool,
    /// Whether it shows what goes wrong with a store that checks first and writes then.
    pub(super) catches_sabotage: bool,
}

const BASE: Plan = Plan {
    name: "",
    store: Store::Postgres,
    replicas: 1,
    refresh: "",
    fault: Fault::ServiceKilled { times: 0 },
    recovers_with: Some(Kind::Refresh),
    spares_sessions: false,
    goes_unnoticed: false,
    short_window: false,
    catches_sabotage: false,
};

/// All experiments, in this form.
pub(super) fn all(form: Form) -> Vec<Plan> {
    let times = |full, short| if form == Form::Full { full } else { short };
    let millis = |full, short| Duration::from_millis(times(full, short));
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
            // It asks again over another connection, and is told what the first attempt did.
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
            // A few must last longer than the service waits for a connection, or nobody notices.
            fault: Fault::PostgresRestarted {
                times: times(20, 2),
                down: [times(50, 1500), times(600, 2000)],
            },
            ..BASE
        },
        Plan {
            name: "postgres-paused",
            // A refresh that commits in the moment before the pause has a lost answer for all of it.
            refresh: "lost_answer = \"until_used\"",
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
            refresh: "grace_secs = 1\nlost_answer = \"until_used\"",
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
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn both_forms_have_the_same_experiments_each_with_a_name_of_its_own() {
        let names = |form| all(form).iter().map(|plan| plan.name).collect::<Vec<_>>();
        assert_eq!(names(Form::Full), names(Form::Short));
        assert_eq!(names(Form::Full).iter().collect::<BTreeSet<_>>().len(), all(Form::Full).len());
    }
}
