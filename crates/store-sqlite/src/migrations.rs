//! The schema's migrations, built into the program.

use std::borrow::Cow;
use std::collections::BTreeSet;

use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use mintgate_domain::Cause;
use mintgate_domain::ports::StoreError;

use crate::error::Failure;
use crate::schema::{__diesel_schema_migrations, sqlite_master};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// The migrations of this program, and the versions that the database has.
struct Versions {
    embedded: Vec<Box<dyn Migration<Sqlite>>>,
    applied: BTreeSet<String>,
}

impl Versions {
    fn read(connection: &mut SqliteConnection) -> Result<Self, Failure> {
        let embedded = MIGRATIONS
            .migrations()
            .map_err(|e| failed("the migrations of this program cannot be read", e))?;
        let table = sqlite_master::table.find("__diesel_schema_migrations");
        let applied = if diesel::select(diesel::dsl::exists(table)).get_result(connection)? {
            let versions = __diesel_schema_migrations::table
                .select(__diesel_schema_migrations::version)
                .load(connection)?;
            versions.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        Ok(Self { embedded, applied })
    }

    /// The names of the migrations that the database lacks, in order.
    fn pending(&self) -> Vec<String> {
        let names = self.embedded.iter().map(Migration::name);
        let lacking = names.filter(|name| !self.applied.contains(&name.version().to_string()));
        let mut names: Vec<_> = lacking.map(ToString::to_string).collect();
        names.sort();
        names
    }
}

/// The names of the migrations that are still to be done, in order; changes nothing.
pub(crate) fn pending(connection: &mut SqliteConnection) -> Result<Vec<String>, Failure> {
    Ok(Versions::read(connection)?.pending())
}

/// How the schema differs from the one that this program was built for, as a sentence.
pub(crate) fn difference(connection: &mut SqliteConnection) -> Result<Option<String>, Failure> {
    let versions = Versions::read(connection)?;
    let pending = versions.pending();
    Ok(if !pending.is_empty() {
        Some(lacks(&pending))
    } else if versions.applied.len() > versions.embedded.len() {
        Some("it is of a newer release".to_owned())
    } else {
        None
    })
}

/// Requires that no migration is pending. A newer schema is accepted: the release before can run on
/// it.
pub(crate) fn require_current(connection: &mut SqliteConnection) -> Result<(), Failure> {
    let pending = pending(connection)?;
    if pending.is_empty() {
        return Ok(());
    }
    Err(StoreError::SchemaMismatch(lacks(&pending).into()).into())
}

fn lacks(pending: &[String]) -> String {
    format!("it lacks {}", pending.join(", "))
}

/// Runs what is pending; part of a transaction, so that another process that does the same waits.
pub(crate) fn run(connection: &mut SqliteConnection) -> Result<Vec<String>, Failure> {
    let pending = connection
        .pending_migrations(MIGRATIONS)
        .map_err(|e| failed("the pending migrations cannot be found", e))?;
    for migration in &pending {
        let failed = |e| failed(format!("the migration {} failed", migration.name()), e);
        connection.run_migration(migration).map_err(failed)?;
    }
    Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
}

/// The migration library's errors have no type of their own: `io::Error` wraps any error.
fn failed(
    what: impl Into<Cow<'static, str>>,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> Failure {
    let source = std::io::Error::other(source);
    StoreError::Unavailable(Cause::from_error(what, source)).into()
}
