//! The schema's migrations, built into the program.

mod footprint;
mod holders;
mod plan;
#[cfg(test)]
mod rules;
mod run;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::ports::StoreError;

use crate::error::Failure;
use crate::schema::__diesel_schema_migrations;

pub(crate) use plan::plan;
pub(crate) use run::{Say, run};

/// A migration.
struct Migration {
    /// The name of its directory: its version, an underscore and words.
    name: &'static str,
    up: &'static str,
}

/// All migrations, in order.
const ALL: &[Migration] = &include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

impl Migration {
    /// What the database notes when it has been run.
    fn version(&self) -> &'static str {
        self.name.split('_').next().unwrap_or(self.name)
    }

    /// Whether it cannot be part of a transaction, as `CREATE INDEX CONCURRENTLY`. It then is one statement.
    fn runs_alone(&self) -> bool {
        self.up.starts_with("-- not in a transaction\n")
    }
}

/// The versions of the migrations that the database has.
pub(crate) async fn applied(connection: &mut AsyncPgConnection) -> Result<Vec<String>, Failure> {
    let is_set_up = sql::<Bool>("to_regclass('__diesel_schema_migrations') IS NOT NULL");
    if !diesel::select(is_set_up).get_result::<bool>(connection).await? {
        return Ok(Vec::new());
    }
    let versions = __diesel_schema_migrations::table.select(__diesel_schema_migrations::version);
    Ok(versions.load(connection).await?)
}

/// The migrations that are still to be done, in order.
fn lacking(applied: &[String]) -> impl Iterator<Item = &'static Migration> {
    let has = |migration: &Migration| applied.iter().any(|version| version == migration.version());
    ALL.iter().filter(move |migration| !has(migration))
}

/// The names of the migrations that are still to be done, in order.
pub(crate) fn pending(applied: &[String]) -> Vec<String> {
    lacking(applied).map(|migration| migration.name.to_owned()).collect()
}

/// Requires that no migration is pending. A newer schema is accepted: replicas of the release
/// before meet it while a release rolls out.
pub(crate) fn require_current(applied: &[String]) -> Result<(), StoreError> {
    let pending = pending(applied);
    if pending.is_empty() {
        return Ok(());
    }
    Err(StoreError::SchemaMismatch(format!("it lacks {}", pending.join(", ")).into()))
}
