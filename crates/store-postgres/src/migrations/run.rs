//! How migrations are run: one after the other, each in a transaction of its own, without holding anybody up.
//!
//! A transaction that waits for a strong lock has everybody who comes after it wait too. So a lock is asked for
//! briefly; if somebody holds it, the attempt is given up, and repeated when that transaction has ended.

use std::time::Duration;

use mintgate_domain::Cause;
use mintgate_domain::ports::StoreError;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::holders::{self, Holder, rows};
use super::{Migration, lacking};
use crate::connector::{Connector, Plain};

/// Who holds this lock may migrate ("mintgate" in ASCII). It is held by an open transaction, so that it ends with
/// its process, also behind a pooler, and nothing has to be unlocked by hand.
const TURN: i64 = 0x6d69_6e74_6761_7465;
/// How often it is looked whether somebody else has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How often it is looked whom a migration waits for.
const WATCH: Duration = Duration::from_millis(20);
/// The pause after an attempt that was held up by somebody who was not seen.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells the operator what is waited for.
pub(crate) type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

fn cannot(error: tokio_postgres::Error) -> StoreError {
    StoreError::Unavailable(Cause::from_error("the migrations cannot be run", error))
}

/// Runs what is pending; returns what was run. Waits for another process that migrates as long as that lives, and
/// for locks until `patience` is over.
pub(crate) async fn run(
    connector: &Connector,
    patience: Duration,
    say: Say<'_>,
) -> Result<Vec<String>, StoreError> {
    let turn = take_turn(connector, say).await?;
    let worker = connector.plain().await.map_err(StoreError::Unavailable)?;
    let deadline = Instant::now() + patience;
    let mut done = Vec::new();
    let mut told: Vec<Holder> = Vec::new();
    while let Some(migration) = lacking(&applied(&worker.client).await?).next() {
        let in_the_way = if migration.runs_alone() {
            run_alone(&worker.client, migration).await?;
            None
        } else {
            attempt(&worker, &turn.client, migration, connector.brief_lock_timeout()).await?
        };
        let Some(in_the_way) = in_the_way else {
            done.push(migration.name.to_owned());
            continue;
        };
        let names = in_the_way.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let is_new = |holder: &Holder| !told.iter().any(|other| other.is(holder));
        if in_the_way.iter().any(is_new) {
            say(&format!("{} waits for a lock held by {names}", migration.name));
            told.clone_from(&in_the_way);
        }
        if in_the_way.is_empty() {
            sleep(PAUSE).await;
        }
        while holders::any_goes_on(&turn.client, &in_the_way).await? && Instant::now() < deadline {
            sleep(LOOK_AGAIN).await;
        }
        if Instant::now() >= deadline {
            let (name, seconds) = (migration.name, patience.as_secs());
            let text = format!(
                "{name} did not get its locks within {seconds} s; they are held by {names}. Nothing of it was done: \
                 repeat it later, or end what holds them"
            );
            return Err(StoreError::Unavailable(text.into()));
        }
    }
    // For whoever looks at once: the server notices a closed connection a moment later.
    turn.client.batch_execute("ROLLBACK").await.map_err(cannot)?;
    Ok(done)
}

/// Waits until no other process migrates, and keeps others from it as long as the connection lives.
async fn take_turn(connector: &Connector, say: Say<'_>) -> Result<Plain, StoreError> {
    let connection = connector.plain().await.map_err(StoreError::Unavailable)?;
    let client = &connection.client;
    let mut told: Option<Holder> = None;
    loop {
        // All that is set ends with the transaction: behind a pooler, the server process is somebody else's then.
        let begin = "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
        client.batch_execute(begin).await.map_err(cannot)?;
        let taken = rows(client, &format!("SELECT pg_try_advisory_xact_lock({TURN})")).await?;
        if taken.first().and_then(|row| row.get(0)) == Some("t") {
            return Ok(connection);
        }
        let other = holders::of_advisory_lock(client, TURN).await?.into_iter().next();
        client.batch_execute("ROLLBACK").await.map_err(cannot)?;
        if let Some(other) = other
            && !told.as_ref().is_some_and(|told| told.is(&other))
        {
            say(&format!("another process migrates, and is waited for: {other}"));
            told = Some(other);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The versions that the database has; makes the table of them if need be.
async fn applied(client: &Client) -> Result<Vec<String>, StoreError> {
    let table = "SELECT 1 WHERE to_regclass('__diesel_schema_migrations') IS NOT NULL";
    if rows(client, table).await?.is_empty() {
        let create =
            "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
            run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)";
        client.batch_execute(create).await.map_err(cannot)?;
    }
    let versions = rows(client, "SELECT version FROM __diesel_schema_migrations").await?;
    Ok(versions.iter().filter_map(|row| row.get(0).map(str::to_owned)).collect())
}

fn failed(migration: &Migration, error: tokio_postgres::Error) -> StoreError {
    let text = format!("migration {} failed", migration.name);
    StoreError::Unavailable(Cause::from_error(text, error))
}

/// Runs a migration if its locks can be had at once; else who is in the way.
async fn attempt(
    worker: &Plain,
    watcher: &Client,
    migration: &Migration,
    lock_timeout: Duration,
) -> Result<Option<Vec<Holder>>, StoreError> {
    let (up, version, millis) = (migration.up, migration.version(), lock_timeout.as_millis());
    let statements = format!(
        "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {millis};\n{up}\n;
        INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}'); COMMIT"
    );
    let mut running = std::pin::pin!(worker.client.batch_execute(&statements));
    let mut in_the_way = Vec::new();
    let result = loop {
        tokio::select! {
            result = &mut running => break result,
            () = sleep(WATCH) => {
                let seen = holders::in_the_way_of(watcher, worker.backend).await?;
                if !seen.is_empty() {
                    in_the_way = seen;
                }
            }
        }
    };
    let Err(error) = result else { return Ok(None) };
    worker.client.batch_execute("ROLLBACK").await.map_err(cannot)?;
    match error.code() {
        Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED) => {
            Ok(Some(in_the_way))
        }
        _ => Err(failed(migration, error)),
    }
}

/// Runs a migration that is no transaction. If it is interrupted, the next attempt begins it again, without the
/// index that it has left half made.
async fn run_alone(client: &Client, migration: &Migration) -> Result<(), StoreError> {
    let invalid = "SELECT indexrelid::regclass FROM pg_index
        WHERE NOT indisvalid AND indrelid::regclass::text IN ('sessions', 'users', 'external_identities')";
    for row in rows(client, invalid).await? {
        if let Some(index) = row.get(0) {
            let drop = format!("DROP INDEX CONCURRENTLY {index}");
            client.batch_execute(&drop).await.map_err(|e| failed(migration, e))?;
        }
    }
    client.batch_execute(migration.up).await.map_err(|e| failed(migration, e))?;
    let version = migration.version();
    let note = format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')");
    client.batch_execute(&note).await.map_err(cannot)
}
