//! The write-ahead log: the file beside the database into which every commit is written first.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use mintgate_domain::Cause;
use mintgate_domain::ports::StoreError;

use crate::store::SqliteStore;

/// Past this size, in bytes, the log is reported and shortened. SQLite cuts it to this size whenever it begins it
/// anew.
pub(crate) const LOG_LIMIT: u64 = 64 * 1024 * 1024;
/// The longest that the writer waits for readers to leave the log, in milliseconds: nobody can write meanwhile.
const PATIENCE_MILLIS: u32 = 20;
/// With more pages than this left in the log after a checkpoint, a reader holds it.
const LEFT_BY_WRITERS: i64 = 1000;

#[derive(QueryableByName)]
struct Mode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

/// Has the database write ahead, which is a property of its file.
pub(crate) fn require(connection: &mut SqliteConnection) -> Result<(), Cause> {
    let answer = diesel::sql_query("PRAGMA journal_mode = WAL").get_result::<Mode>(connection);
    let mode = answer.map_err(|e| Cause::from_error("it may not be an SQLite database", e))?;
    if mode.journal_mode == "wal" {
        return Ok(());
    }
    // SQLite answers with the mode that it stays in, and that is no error.
    let mode = mode.journal_mode;
    Err(format!(
        "it stays in the journal mode `{mode}`: its file system has no shared memory, which a write-ahead log \
         needs, as is the case over a network (NFS, SMB); move the file to a local disk, or use Postgres"
    )
    .into())
}

/// The log as a file. It is looked at by its path alone: to open and close it would take SQLite's locks away.
pub(crate) struct WriteAheadLog {
    path: PathBuf,
    is_reported: AtomicBool,
}

impl WriteAheadLog {
    /// The log of the database at a path without symbolic links.
    pub(crate) fn beside(database: &Path) -> Self {
        let mut path = OsString::from(database);
        path.push("-wal");
        Self { path: path.into(), is_reported: AtomicBool::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes; 0 if there is none.
    pub(crate) fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Says once that the log is too long, and once that it is not any more.
    fn report(&self, bytes: u64) {
        let (is_long, path) = (bytes > LOG_LIMIT, self.path.display());
        if is_long && !self.is_reported.swap(true, Relaxed) {
            tracing::warn!(
                %path, bytes, limit = LOG_LIMIT,
                "the write-ahead log of the database grows past its limit: a reader keeps a transaction open \
                 (a backup, an sqlite3 shell), and the log cannot be emptied before it ends"
            );
        } else if !is_long && self.is_reported.swap(false, Relaxed) {
            tracing::info!(%path, bytes, "the write-ahead log of the database is short again");
        }
    }
}

#[derive(QueryableByName)]
struct Checkpoint {
    #[diesel(sql_type = BigInt)]
    log: i64,
    #[diesel(sql_type = BigInt)]
    checkpointed: i64,
}

impl SqliteStore {
    /// Looks at the log, and shortens it if it is too long and no reader needs it.
    pub(crate) async fn shorten_log(&self) -> Result<(), StoreError> {
        let bytes = self.log.bytes();
        self.metrics.store_log(bytes);
        self.log.report(bytes);
        if bytes <= LOG_LIMIT {
            return Ok(());
        }
        // Nobody waits for this, which is nearly all of the work.
        let copied = self.search.run(|connection| {
            let checkpoint = diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)");
            Ok(checkpoint.get_result::<Checkpoint>(connection)?)
        });
        let Checkpoint { log, checkpointed } = copied.await?;
        if log.saturating_sub(checkpointed) > LEFT_BY_WRITERS {
            return Ok(());
        }
        // On the connection that writes, so that no writer of this process is in the way.
        let busy_timeout = self.busy_timeout.as_millis();
        let cut = self.writer.run(move |connection| {
            connection.batch_execute(&format!("PRAGMA busy_timeout = {PATIENCE_MILLIS}"))?;
            let cut = connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)");
            connection.batch_execute(&format!("PRAGMA busy_timeout = {busy_timeout}"))?;
            Ok(cut?)
        });
        cut.await?;
        let bytes = self.log.bytes();
        self.metrics.store_log(bytes);
        self.log.report(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lock files of this VFS are all that it has: no shared memory, as on a network file system.
    #[test]
    fn a_file_system_that_cannot_write_ahead_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mintgate.db");
        let address = format!("file:{}?vfs=unix-dotfile", file.display());
        let mut connection = SqliteConnection::establish(&address).unwrap();
        let cause = require(&mut connection).unwrap_err().to_string();
        assert!(cause.contains("`delete`") && cause.contains("local disk"), "{cause}");
        let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        assert_eq!(require(&mut connection), Ok(()));
    }
}
