//! What the pending migrations would do, and who would be in their way now.

use std::fmt::Write as _;

use mintgate_domain::ports::StoreError;

use super::footprint::{self, Step, Work};
use super::holders::{self, rows};
use super::lacking;
use crate::connector::Connector;

/// How fast a table is read or written anew, in bytes a second: a guess, for a slow disk.
const READ_SPEED: u64 = 200_000_000;
const WRITE_SPEED: u64 = 50_000_000;

/// The pending migrations as text: their locks, how long these are held, and who holds others now. Changes nothing.
pub(crate) async fn plan(connector: &Connector, applied: &[String]) -> Result<String, StoreError> {
    let connection = connector.plain().await.map_err(StoreError::Unavailable)?;
    let client = &connection.client;
    let mut text = String::new();
    for migration in lacking(applied) {
        let _ = writeln!(text, "would run {}", migration.name);
        for step in footprint::steps(migration.up) {
            let Step { table, mode, work } = &step;
            let size = format!(
                "SELECT pg_total_relation_size(c.oid), pg_size_pretty(pg_total_relation_size(c.oid)) \
                 FROM pg_class AS c WHERE c.oid = to_regclass('{table}')"
            );
            let size = rows(client, &size).await?;
            let Some(size) = size.first() else { continue };
            let bytes: u64 = size.get(0).and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
            let pretty = size.get(1).unwrap_or_default();
            let seconds = match work {
                Work::None => "a moment".to_owned(),
                Work::Reads => format!("about {} s", bytes / READ_SPEED + 1),
                Work::Writes => format!("about {} s", bytes / WRITE_SPEED + 1),
            };
            let _ = writeln!(text, "    {mode} on {table} ({pretty}), held for {seconds}");
            for holder in holders::of_table(client, table).await? {
                if mode.conflicts_with(&holder.mode) {
                    let _ = writeln!(text, "        in its way now: {holder}");
                }
            }
        }
    }
    Ok(text)
}
