//! What no migration may do, because the release before runs on the same database, and requests must not wait.

use super::ALL;
use super::footprint::{Mode, Work, statements, steps};

/// Migrations that break a rule, and why they may.
const EXCEPTIONS: &[(&str, Rule, &str)] = &[
    ("0003_identities_and_providers", Rule::LockAndData, STOPPED),
    ("0003_identities_and_providers", Rule::Index, STOPPED),
    ("0003_identities_and_providers", Rule::LongLock, STOPPED),
    ("0003_identities_and_providers", Rule::Rename, STOPPED),
    ("0004_session_epochs", Rule::LongLock, BEFORE_THE_RULES),
    ("0005_profiles", Rule::LongLock, BEFORE_THE_RULES),
    ("0009_replica_keys", Rule::LockAndData, EMPTY),
    ("0009_replica_keys", Rule::LongLock, EMPTY),
    ("0009_replica_keys", Rule::Drop, EMPTY),
    ("0009_replica_keys", Rule::NotNull, EMPTY),
    ("0010_administration", Rule::LockAndData, BEFORE_THE_RULES),
];
const STOPPED: &str =
    "released before the rules; operations.md says that the service has to be stopped for it";
const EMPTY: &str = "the release before never wrote to the table";
const BEFORE_THE_RULES: &str =
    "released before the rules; it reads or writes a table once, without another lock";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A strong lock and changes to many rows in one transaction: the lock is held while they are made. Change the rows
    /// in a migration of its own, or in the background.
    LockAndData,
    /// An index on a table that there is, without `CONCURRENTLY`.
    Index,
    /// All rows are read or written under a strong lock: `NOT NULL`, a constraint that is not `NOT VALID`, another type, a
    /// default that differs from row to row.
    LongLock,
    /// The release before uses the old name.
    Rename,
    /// The release before uses it.
    Drop,
    /// The release before does not fill it in.
    NotNull,
}

fn broken(sql: &str) -> Vec<Rule> {
    let (steps, statements) = (steps(sql), statements(sql));
    let any = |of: &dyn Fn(Mode, Work) -> bool| steps.iter().any(|step| of(step.mode, step.work));
    let is_strong = |mode: Mode| mode >= Mode::Share;
    let has = |words: &str| statements.iter().any(|it| format!(" {it} ").contains(words));
    let adds_not_null = |statement: &String| {
        let columns = statement.split(" add column ").skip(1);
        let mut definitions = columns.flat_map(|columns| columns.split(" , add "));
        definitions.any(|it| it.contains(" not null") && !it.contains(" default "))
    };
    let rules = [
        (
            Rule::LockAndData,
            any(&|mode, _| is_strong(mode))
                && any(&|mode, work| mode == Mode::RowExclusive && work == Work::Writes),
        ),
        (Rule::Index, any(&|mode, _| mode == Mode::Share)),
        (Rule::LongLock, any(&|mode, work| mode > Mode::Share && work > Work::None)),
        (Rule::Rename, has(" rename ")),
        (Rule::Drop, has(" drop table ") || has(" drop column ") || has(" drop index ")),
        (Rule::NotNull, statements.iter().any(adds_not_null)),
    ];
    rules.into_iter().filter_map(|(rule, is_broken)| is_broken.then_some(rule)).collect()
}

#[test]
fn no_migration_holds_requests_up_or_breaks_the_release_before() {
    let broken = ALL
        .iter()
        .flat_map(|migration| broken(migration.up).into_iter().map(|rule| (migration.name, rule)));
    let excepted = EXCEPTIONS.iter().inspect(|(name, _, why)| assert!(!why.is_empty(), "{name}"));
    let excepted: Vec<_> = excepted.map(|(name, rule, _)| (*name, *rule)).collect();
    assert_eq!(broken.collect::<Vec<_>>(), excepted);
    // What cannot be in a transaction is one statement.
    for migration in ALL.iter().filter(|migration| migration.runs_alone()) {
        assert_eq!(statements(migration.up).len(), 1, "{}", migration.name);
    }
}

#[test]
fn each_rule_finds_what_breaks_it() {
    for (sql, expected) in [
        (
            "ALTER TABLE sessions ADD COLUMN a int; UPDATE sessions SET a = 1",
            vec![Rule::LockAndData],
        ),
        ("CREATE INDEX i ON sessions (a)", vec![Rule::Index]),
        ("CREATE INDEX CONCURRENTLY i ON sessions (a)", vec![]),
        (
            "CREATE TABLE t (a int NOT NULL); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1)",
            vec![],
        ),
        ("ALTER TABLE sessions ALTER COLUMN a SET NOT NULL", vec![Rule::LongLock]),
        ("ALTER TABLE sessions ADD FOREIGN KEY (a) REFERENCES users (id)", vec![Rule::LongLock]),
        ("ALTER TABLE sessions ADD FOREIGN KEY (a) REFERENCES users (id) NOT VALID", vec![]),
        ("ALTER TABLE sessions ADD COLUMN a uuid DEFAULT gen_random_uuid()", vec![Rule::LongLock]),
        ("ALTER TABLE sessions ADD COLUMN a bigint NOT NULL DEFAULT 0", vec![]),
        ("ALTER TABLE sessions ADD COLUMN a bigint NOT NULL", vec![Rule::NotNull]),
        ("ALTER TABLE sessions RENAME COLUMN a TO b", vec![Rule::Rename]),
        ("ALTER TABLE sessions DROP COLUMN a", vec![Rule::Drop]),
        ("DROP TABLE sessions", vec![Rule::Drop]),
        ("UPDATE sessions SET a = 1", vec![]),
    ] {
        assert_eq!(broken(sql), expected, "{sql}");
    }
}
