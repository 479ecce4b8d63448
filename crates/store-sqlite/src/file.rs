//! The database's file: there, private, and a database in write-ahead mode.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use mintgate_domain::Cause;
use mintgate_domain::ports::{DiskSpace, StoreError};
use rustix::fs::{Access, access, statvfs};

use crate::config::CannotOpen;
use crate::write_ahead::{self, LOG_LIMIT};

/// With less room on its disk, in bytes, nothing can be written soon.
const LEAST_ROOM: u64 = 1024 * 1024;

/// Makes the file if need be and sets it up; returns the address that connections are made with.
pub(crate) fn prepare(path: &Path, busy_timeout: Duration) -> Result<String, CannotOpen> {
    let cannot = |cause: Cause| CannotOpen { path: path.to_owned(), cause };
    // Absolute, so that no name is taken for SQLite's `:memory:` or `file:`.
    let absolute = std::path::absolute(path)
        .map_err(|e| cannot(Cause::from_error("its path cannot be used", e)))?;
    let address =
        absolute.to_str().ok_or_else(|| cannot("its path is not UTF-8; use another".into()))?;

    // SQLite gives its -wal and -shm files the same mode.
    let created =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&absolute);
    created.map_err(|e| {
        let directory = absolute.parent().unwrap_or(Path::new("/")).display();
        let reason = match e.kind() {
            ErrorKind::NotFound => {
                format!("the directory {directory} does not exist; make it, or set store.url")
            }
            ErrorKind::PermissionDenied => format!(
                "permission denied; let the user that runs mintgate write to {directory} and \
                 to the file"
            ),
            _ => "it cannot be read and written".to_owned(),
        };
        cannot(Cause::from_error(reason, e))
    })?;

    require_no_mount_point(&absolute).map_err(&cannot)?;

    // Set once, before anyone shares the file.
    let mut connection = establish(address, busy_timeout).map_err(&cannot)?;
    write_ahead::require(&mut connection).map_err(&cannot)?;
    Ok(address.to_owned())
}

/// Requires that the file is not mounted by itself, as one file into a container: SQLite keeps the latest commits
/// in a file beside it, which would be in the container and end with it.
fn require_no_mount_point(path: &Path) -> Result<(), Cause> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        // A kernel before 5.8 does not say.
        let is_mounted = statx(CWD, path, AtFlags::empty(), StatxFlags::empty())
            .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        if is_mounted {
            return Err("it is mounted as a single file, and the -wal file beside it, which has the latest commits, \
                        is not; mount its directory"
                .into());
        }
    }
    Ok(())
}

/// The file that was opened. It is looked at by its path alone: to open and close it beside SQLite would
/// take SQLite's locks away.
pub(crate) struct OpenedFile {
    path: PathBuf,
    /// Its device and inode.
    identity: (u64, u64),
    is_reported: AtomicBool,
}

impl OpenedFile {
    pub(crate) fn at(path: PathBuf) -> std::io::Result<Self> {
        let metadata = fs::metadata(&path)?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { path, identity, is_reported: AtomicBool::default() })
    }

    /// Requires that the file is still the one at its path: what is written to a file that was deleted
    /// or replaced is lost.
    pub(crate) fn require_in_place(&self) -> Result<(), StoreError> {
        let found = fs::metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            self.is_reported.store(false, Relaxed);
            return Ok(());
        }
        if !self.is_reported.swap(true, Relaxed) {
            let path = self.path.display();
            tracing::error!(%path, "the database file was deleted or replaced; restart");
        }
        Err(StoreError::Unavailable("the database file was deleted or replaced; restart".into()))
    }

    /// The room on the file's disk.
    pub(crate) fn disk(&self) -> std::io::Result<DiskSpace> {
        let disk = statvfs(&self.path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(DiskSpace { free: bytes(disk.f_bavail), size: bytes(disk.f_blocks) })
    }

    /// Requires that the file may be written, and that there is room on its disk.
    pub(crate) fn require_writable(&self) -> Result<(), StoreError> {
        let unknown = |e: std::io::Error| {
            StoreError::Unavailable(Cause::from_error("its file cannot be written", e))
        };
        access(&self.path, Access::WRITE_OK).map_err(|e| unknown(e.into()))?;
        if self.disk().map_err(unknown)?.free < LEAST_ROOM {
            return Err(StoreError::Unavailable("the disk under its file is full".into()));
        }
        Ok(())
    }
}

/// Makes a connection that waits for a commit to be on disk, and checks foreign keys.
pub(crate) fn establish(address: &str, busy_timeout: Duration) -> Result<SqliteConnection, Cause> {
    let mut connection = SqliteConnection::establish(address)
        .map_err(|e| Cause::from_error("the connection cannot be made", e))?;
    let settings = format!(
        "PRAGMA busy_timeout = {};
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA journal_size_limit = {LOG_LIMIT};",
        busy_timeout.as_millis()
    );
    connection
        .batch_execute(&settings)
        .map_err(|e| Cause::from_error("the connection cannot be set up", e))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use diesel::dsl::sql;
    use diesel::prelude::*;
    use diesel::sql_types::{BigInt, Text};

    use super::*;

    #[test]
    fn connections_are_durable_and_check_foreign_keys() {
        let directory = tempfile::tempdir().unwrap();
        let busy_timeout = Duration::from_millis(1234);
        let address = prepare(&directory.path().join("mintgate.db"), busy_timeout).unwrap();
        let mut connection = establish(&address, busy_timeout).unwrap();
        let mode = sql::<Text>("(SELECT journal_mode FROM pragma_journal_mode)");
        let mode: String = diesel::select(mode).get_result(&mut connection).unwrap();
        assert_eq!(mode, "wal");
        for (pragma, column, expected) in [
            ("synchronous", "synchronous", 2),
            ("foreign_keys", "foreign_keys", 1),
            ("busy_timeout", "timeout", 1234),
            ("journal_size_limit", "journal_size_limit", LOG_LIMIT.try_into().unwrap()),
        ] {
            let value = sql::<BigInt>(&format!("(SELECT {column} FROM pragma_{pragma})"));
            let value: i64 = diesel::select(value).get_result(&mut connection).unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
    }
}
