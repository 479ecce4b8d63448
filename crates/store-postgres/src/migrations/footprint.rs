//! Which locks a migration takes on the tables that there are, read from its text.

use std::fmt;

/// A lock on a table, in the order of strength (PostgreSQL, "Explicit Locking").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    AccessExclusive,
}

/// What is done to the rows under a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Nothing: a moment, whatever the table's size.
    None,
    /// All are read.
    Reads,
    /// All may be written.
    Writes,
}

/// A lock that a migration takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) table: String,
    pub(super) mode: Mode,
    pub(super) work: Work,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        })
    }
}

impl Mode {
    /// Whether a lock in this mode waits for one that `pg_locks` describes as `held`.
    pub(super) fn conflicts_with(self, held: &str) -> bool {
        match held {
            "AccessShareLock" | "RowShareLock" => self == Self::AccessExclusive,
            "RowExclusiveLock" => self >= Self::Share,
            "ShareUpdateExclusiveLock" => self >= Self::ShareUpdateExclusive,
            "ShareLock" => self != Self::Share,
            _ => true,
        }
    }
}

/// The statements of a text, without comments, in small letters, with single spaces. Texts in quotes and bodies
/// of functions are left out.
pub(super) fn statements(sql: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let end = |opening: usize, closing: &str| {
            rest[opening..].find(closing).map_or(rest.len(), |at| opening + at + closing.len())
        };
        let skipped = if rest.starts_with("--") {
            end(2, "\n")
        } else if rest.starts_with("$$") {
            end(2, "$$")
        } else if c == '\'' {
            plain.push_str("''");
            end(1, "'")
        } else {
            match c {
                '(' | ')' | ',' => plain.extend([' ', c, ' ']),
                c => plain.extend(c.to_lowercase()),
            }
            c.len_utf8()
        };
        if skipped > 1 {
            plain.push(' ');
        }
        rest = &rest[skipped..];
    }
    let statements = plain
        .split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| !statement.is_empty()).collect()
}

/// The word behind these words, if the statement has them.
fn behind<'a>(statement: &'a str, words: &str) -> Option<&'a str> {
    let at = format!(" {statement} ").find(&format!(" {words} "))?;
    let rest = statement.get(at + words.len()..)?.trim_start();
    let skipped = ["if not exists ", "if exists ", "only "];
    let rest = skipped.iter().fold(rest, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
    rest.split_whitespace().next()
}

/// The locks that a migration takes on tables that it has not made itself, in order.
pub(super) fn steps(sql: &str) -> Vec<Step> {
    let mut made: Vec<String> = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    for statement in statements(sql) {
        let is_table = statement.starts_with("create table ")
            || statement.starts_with("create unlogged table ");
        if is_table && let Some(table) = behind(&statement, "table") {
            made.push(table.to_owned());
        }
        for (table, mode, work) in locks(&statement) {
            let step = Step { table: table.to_owned(), mode, work };
            if !made.contains(&step.table) && !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    steps
}

/// The locks of one statement.
fn locks(statement: &str) -> Vec<(&str, Mode, Work)> {
    let first = |words| behind(statement, words);
    let mut locks = Vec::new();
    // A foreign key takes its lock on both tables.
    let referenced = statement.match_indices(" references ");
    for (at, _) in referenced {
        if let Some(table) = behind(&statement[at + 1..], "references") {
            locks.push((table, Mode::ShareRowExclusive, Work::None));
        }
    }
    if let Some(table) = statement.strip_prefix("alter table ").and(first("table")) {
        let (mode, work) = altering(statement);
        locks.push((table, mode, work));
    } else if statement.starts_with("create index") || statement.starts_with("create unique index")
    {
        let is_concurrent = statement.contains(" concurrently ");
        let mode = if is_concurrent { Mode::ShareUpdateExclusive } else { Mode::Share };
        locks.extend(first("on").map(|table| (table, mode, Work::Reads)));
    } else if statement.starts_with("create trigger")
        || statement.starts_with("create or replace trigger")
    {
        locks.extend(first("on").map(|table| (table, Mode::ShareRowExclusive, Work::None)));
    } else if statement.starts_with("drop table") || statement.starts_with("lock table") {
        locks.extend(first("table").map(|table| (table, Mode::AccessExclusive, Work::None)));
    } else if statement.starts_with("update ") {
        locks.extend(first("update").map(|table| (table, Mode::RowExclusive, Work::Writes)));
    } else if statement.starts_with("delete from ") {
        locks.extend(first("delete from").map(|table| (table, Mode::RowExclusive, Work::Writes)));
    } else if statement.starts_with("insert into ") {
        locks.extend(first("insert into").map(|table| (table, Mode::RowExclusive, Work::None)));
    }
    locks
}

/// What `ALTER TABLE` needs for all of its changes.
fn altering(statement: &str) -> (Mode, Work) {
    let mut needs = (Mode::ShareUpdateExclusive, Work::None);
    let mut depth = 0;
    let mut action = String::new();
    let mut actions = Vec::new();
    for word in statement.split(' ').skip(3) {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," if depth == 0 => {
                actions.push(std::mem::take(&mut action));
                continue;
            }
            _ => {}
        }
        action = action + " " + word;
    }
    actions.push(action);
    for action in actions.iter().map(|action| action.trim()) {
        let has = |words: &str| format!(" {action} ").contains(&format!(" {words} "));
        let validated = if has("not valid") { Work::None } else { Work::Reads };
        let differs_by_row = ["default gen_random_uuid", "default clock_timestamp", "generated"];
        let is_written = action.starts_with("alter") && has("type")
            || differs_by_row.iter().any(|default| has(default));
        let need = if action.starts_with("validate") {
            (Mode::ShareUpdateExclusive, Work::Reads)
        } else if action.starts_with("set (") || has("set statistics") {
            (Mode::ShareUpdateExclusive, Work::None)
        } else if has("foreign key") || has("references") {
            (Mode::ShareRowExclusive, validated)
        } else if is_written {
            (Mode::AccessExclusive, Work::Writes)
        } else if has("set not null") || has("check") || has("unique") || has("primary key") {
            (Mode::AccessExclusive, validated)
        } else {
            (Mode::AccessExclusive, Work::None)
        };
        needs = (needs.0.max(need.0), needs.1.max(need.1));
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locks_of_a_migration_are_those_that_postgres_takes() {
        let lock = |table: &str, mode, work| Step { table: table.to_owned(), mode, work };
        let sessions = |mode, work| vec![lock("sessions", mode, work)];
        for (sql, expected) in [
            (
                "-- ALTER TABLE users\nCREATE TABLE new (id int);\nCREATE INDEX i ON new (id)",
                vec![],
            ),
            (
                "CREATE TABLE new (id int REFERENCES users (id))",
                vec![lock("users", Mode::ShareRowExclusive, Work::None)],
            ),
            ("ALTER TABLE sessions ADD COLUMN a int", sessions(Mode::AccessExclusive, Work::None)),
            (
                "ALTER TABLE ONLY sessions ADD a int, ADD b uuid DEFAULT gen_random_uuid()",
                sessions(Mode::AccessExclusive, Work::Writes),
            ),
            (
                "ALTER TABLE sessions ALTER COLUMN a SET NOT NULL",
                sessions(Mode::AccessExclusive, Work::Reads),
            ),
            (
                "ALTER TABLE sessions ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
                sessions(Mode::AccessExclusive, Work::None),
            ),
            (
                "ALTER TABLE sessions VALIDATE CONSTRAINT c",
                sessions(Mode::ShareUpdateExclusive, Work::Reads),
            ),
            (
                "ALTER TABLE sessions ALTER a TYPE bigint",
                sessions(Mode::AccessExclusive, Work::Writes),
            ),
            ("CREATE INDEX i ON sessions (a)", sessions(Mode::Share, Work::Reads)),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY i ON sessions (a)",
                sessions(Mode::ShareUpdateExclusive, Work::Reads),
            ),
            (
                "CREATE TRIGGER t AFTER UPDATE OF a ON sessions FOR EACH ROW EXECUTE FUNCTION f()",
                sessions(Mode::ShareRowExclusive, Work::None),
            ),
            (
                "UPDATE sessions AS s SET a = 'x; DROP TABLE users'",
                sessions(Mode::RowExclusive, Work::Writes),
            ),
            ("CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN DELETE FROM users; END $$", vec![]),
            ("DROP TABLE IF EXISTS sessions", sessions(Mode::AccessExclusive, Work::None)),
        ] {
            assert_eq!(steps(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_dump_is_in_the_way_of_the_strongest_lock_alone() {
        assert!(Mode::AccessExclusive.conflicts_with("AccessShareLock"));
        assert!(!Mode::ShareRowExclusive.conflicts_with("AccessShareLock"));
        assert!(Mode::ShareRowExclusive.conflicts_with("RowExclusiveLock"));
        assert!(!Mode::Share.conflicts_with("ShareLock"));
    }
}
