//! The schema's migrations, built into the program.

use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use mintgate_domain::ports::StoreError;

use crate::error::store_error;
use crate::schema::{__diesel_schema_migrations, sqlite_master};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// The names of the migrations that are still to be done, in order; changes nothing.
pub(crate) fn pending(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let applied = applied(connection).map_err(|e| store_error(&e))?;
    let embedded: Vec<Box<dyn Migration<Sqlite>>> =
        MIGRATIONS.migrations().map_err(|e| failed(&e.to_string()))?;
    let mut pending: Vec<_> = embedded
        .iter()
        .map(Migration::name)
        .filter(|name| !applied.contains(&name.version().to_string()))
        .map(ToString::to_string)
        .collect();
    pending.sort();
    Ok(pending)
}

fn applied(connection: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    let table = sqlite_master::table.find("__diesel_schema_migrations");
    if !diesel::select(diesel::dsl::exists(table)).get_result::<bool>(connection)? {
        return Ok(Vec::new());
    }
    __diesel_schema_migrations::table.select(__diesel_schema_migrations::version).load(connection)
}

/// Nothing is pending. A schema that is newer is fine: the release before it still runs on it.
pub(crate) fn require_current(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let pending = pending(connection)?;
    if pending.is_empty() {
        return Ok(());
    }
    Err(StoreError::SchemaMismatch(format!("it lacks {}", pending.join(", ")).into()))
}

/// What ends the transaction of the migrations.
struct Failed(StoreError);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(store_error(&error))
    }
}

/// Runs what is pending, all or nothing; another process that does the same waits its turn.
pub(crate) fn run(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let ran = connection.immediate_transaction(|connection| {
        let pending = connection
            .pending_migrations(MIGRATIONS)
            .map_err(|e| Failed(failed(&e.to_string())))?;
        for migration in &pending {
            connection
                .run_migration(migration)
                .map_err(|e| Failed(failed(&format!("{}: {e}", migration.name()))))?;
        }
        Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
    });
    ran.map_err(|Failed(error)| error)
}

fn failed(reason: &str) -> StoreError {
    StoreError::Unavailable(format!("the migrations cannot be run: {reason}").into())
}
