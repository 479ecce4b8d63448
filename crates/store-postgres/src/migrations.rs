//! The schema's migrations, built into the program.

use std::error::Error as StdError;

use diesel::dsl::sql;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use mintgate_domain::Cause;
use mintgate_domain::ports::StoreError;

use crate::connector::Connector;
use crate::error::Failure;
use crate::schema::__diesel_schema_migrations;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Of two replicas that migrate at once, one waits for this lock ("mintgate" in ASCII).
///
/// All that is set here ends with the transaction: behind a pooler, the server process is somebody
/// else's then.
const TAKE_TURNS: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '1min';
    SELECT pg_advisory_xact_lock(x'6d696e7467617465'::bigint)";
/// A migration that waits for a table makes everyone else wait behind it; better it fails.
const DO_NOT_QUEUE: &str = "SET LOCAL lock_timeout = '5s'";

/// The versions of the migrations that the database has.
pub(crate) async fn applied(connection: &mut AsyncPgConnection) -> Result<Vec<String>, Failure> {
    let is_set_up = sql::<Bool>("to_regclass('__diesel_schema_migrations') IS NOT NULL");
    if !diesel::select(is_set_up).get_result::<bool>(connection).await? {
        return Ok(Vec::new());
    }
    let versions = __diesel_schema_migrations::table.select(__diesel_schema_migrations::version);
    Ok(versions.load(connection).await?)
}

/// The names of the migrations that are still to be done, in order.
pub(crate) fn pending(applied: &[String]) -> Result<Vec<String>, StoreError> {
    let embedded: Vec<Box<dyn Migration<Pg>>> =
        MIGRATIONS.migrations().map_err(|e| failed(e.as_ref()))?;
    let mut pending: Vec<_> = embedded
        .iter()
        .map(Migration::name)
        .filter(|name| !applied.contains(&name.version().to_string()))
        .map(ToString::to_string)
        .collect();
    pending.sort();
    Ok(pending)
}

/// Requires that no migration is pending. A newer schema is accepted: replicas of the release
/// before meet it while a release rolls out.
pub(crate) fn require_current(applied: &[String]) -> Result<(), StoreError> {
    let pending = pending(applied)?;
    if pending.is_empty() {
        return Ok(());
    }
    Err(StoreError::SchemaMismatch(format!("it lacks {}", pending.join(", ")).into()))
}

/// Runs what is pending, on a connection of its own and in one transaction; returns what was run.
pub(crate) async fn run(connector: &Connector) -> Result<Vec<String>, StoreError> {
    let established = connector.establish(true).await.map_err(StoreError::Unavailable)?;
    let connection = established.connection;
    // On a thread of its own: the migrations' runner blocks.
    tokio::task::spawn_blocking(move || run_blocking(connection))
        .await
        .map_err(|e| StoreError::Unavailable(Cause::from_error("the migrations did not end", e)))?
}

fn run_blocking(connection: AsyncPgConnection) -> Result<Vec<String>, StoreError> {
    use diesel::connection::SimpleConnection;

    let mut connection = AsyncConnectionWrapper::<AsyncPgConnection>::from(connection);
    let run = connection.transaction::<Vec<String>, Stopped, _>(|connection| {
        connection.batch_execute(TAKE_TURNS)?;
        connection.batch_execute(DO_NOT_QUEUE)?;
        let pending = connection.pending_migrations(MIGRATIONS).map_err(|e| failed(e.as_ref()))?;
        for migration in &pending {
            connection.run_migration(migration).map_err(|e| {
                let text = format!("migration {} failed: {e}", migration.name());
                StoreError::Unavailable(text.into())
            })?;
        }
        Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
    });
    run.map_err(|error| match error {
        Stopped::By(error) => error,
        Stopped::InDatabase(error) => failed(&error),
    })
}

/// Why the transaction of the migrations was rolled back.
enum Stopped {
    By(StoreError),
    InDatabase(diesel::result::Error),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::By(error)
    }
}

impl From<diesel::result::Error> for Stopped {
    fn from(error: diesel::result::Error) -> Self {
        Self::InDatabase(error)
    }
}

fn failed(error: &(dyn StdError + 'static)) -> StoreError {
    StoreError::Unavailable(format!("the migrations cannot be run: {error}").into())
}
