//! A copy of the database, made while the service runs.
//!
//! `VACUUM INTO` rather than SQLite's online backup: it needs no unsafe code, and it reads one state of the
//! database. A backup in steps begins again whenever another process has written, which a service does all the
//! time. The price of either is the same: while the copy is made, the write-ahead log cannot be emptied. So its
//! size is watched, and the copy is given up before the log harms the service.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Text;
use mintgate_domain::Cause;
use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use tokio::sync::oneshot;

use crate::file;
use crate::schema::sessions;
use crate::write_ahead::WriteAheadLog;

/// The copy is given up when the log has grown by this many bytes, or by the size of the database if that is
/// more.
const MOST_GROWTH: u64 = 1024 * 1024 * 1024;
/// This much room, in bytes, is left to the service.
const ROOM_LEFT: u64 = 64 * 1024 * 1024;
/// How often the log and the room on the disk are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// How long the copy waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A backup that was made.
#[derive(Debug)]
pub struct Backup {
    /// The path of the copy.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
    /// How many sessions are in it, ended ones among them.
    pub sessions: i64,
    /// The path of the database that was copied.
    database: PathBuf,
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, bytes, sessions, database } = self;
        let (path, database) = (path.display(), database.display());
        writeln!(f, "{path}: {bytes} bytes, {sessions} sessions. Its integrity was checked.")?;
        writeln!(f, "To restore it:")?;
        writeln!(f, "  1. Stop the service.")?;
        writeln!(
            f,
            "  2. Delete {database}-wal and {database}-shm, which belong to the file that is there."
        )?;
        writeln!(f, "  3. Copy {path} to {database}; the service's user must own it.")?;
        writeln!(
            f,
            "  4. Run `mintgate migrate` and `mintgate restore-done`, then start the service."
        )
    }
}

/// Why there is no backup; the cause says what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("no backup was made")]
pub struct NoBackup(#[source] Cause);

fn failed(
    what: impl Into<String>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> NoBackup {
    NoBackup(Cause::from_error(what.into(), error))
}

/// Copies the database file `database` to `target`, which must not exist, while other processes use it. The copy
/// has everything that was committed before the call, is checked, on disk, and readable by its owner alone.
///
/// Meant for a command: if the copy is given up, the thread that makes it goes on until the process ends.
///
/// # Errors
/// If there is no such database, `target` exists, the copy fails, or its check does. Nothing is left behind then.
pub async fn back_up(database: &Path, target: &Path) -> Result<Backup, NoBackup> {
    let database = fs::canonicalize(database).map_err(|e| {
        failed(format!("there is no database at {} (store.url)", database.display()), e)
    })?;
    let target = std::path::absolute(target).map_err(|e| failed("its path cannot be used", e))?;
    require_free(&target)?;
    let partial = with_suffix(&target, ".partial");
    let watch = Watch::of(&database, &partial)?;
    watch.require_room_for_all()?;
    create_private(&partial)?;
    let made = async {
        copy(&database, &partial, &watch).await?;
        let sessions = examine(&partial)?;
        let bytes = put_in_place(&partial, &target)?;
        Ok(Backup { path: target, bytes, sessions, database })
    };
    let made = made.await;
    if made.is_err() {
        let _ = fs::remove_file(&partial);
    }
    made
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn require_free(target: &Path) -> Result<(), NoBackup> {
    match fs::symlink_metadata(target) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed(format!("{} cannot be looked at", target.display()), e)),
        Ok(_) => Err(NoBackup(
            format!("{} exists; a backup overwrites nothing: name another file", target.display())
                .into(),
        )),
    }
}

/// An empty file that its owner alone may read; SQLite writes into it.
fn create_private(partial: &Path) -> Result<(), NoBackup> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial);
    let path = partial.display();
    created.map(drop).map_err(|e| {
        failed(
            match e.kind() {
                ErrorKind::AlreadyExists => format!(
                    "{path} exists: another backup is being made, or one was interrupted; if it was, delete the file"
                ),
                ErrorKind::NotFound => format!("the directory of {path} does not exist"),
                _ => format!("{path} cannot be created"),
            },
            e,
        )
    })
}

/// What must not grow or shrink too far while the copy is made.
struct Watch {
    log: WriteAheadLog,
    /// The size of the log at the beginning, in bytes.
    log_began_at: u64,
    most_growth: u64,
    /// The size of the database, in bytes.
    size: u64,
    database: PathBuf,
    partial: PathBuf,
}

impl Watch {
    fn of(database: &Path, partial: &Path) -> Result<Self, NoBackup> {
        let metadata = fs::metadata(database);
        let size = metadata.map_err(|e| failed("the database cannot be looked at", e))?.len();
        let log = WriteAheadLog::beside(database);
        Ok(Self {
            log_began_at: log.bytes(),
            log,
            most_growth: MOST_GROWTH.max(size),
            size,
            database: database.to_owned(),
            partial: partial.to_owned(),
        })
    }

    /// The copy is at most as large as the database and its log together.
    fn require_room_for_all(&self) -> Result<(), NoBackup> {
        let directory = self.partial.parent().unwrap_or(Path::new("/"));
        let needed = self.size + self.log_began_at + ROOM_LEFT;
        let free = room(directory)?;
        if free < needed {
            let text = format!(
                "{} has room for {free} bytes, and {needed} are needed",
                directory.display()
            );
            return Err(NoBackup(text.into()));
        }
        Ok(())
    }

    /// Requires that the service can go on beside the copy.
    fn require_no_harm(&self) -> Result<(), NoBackup> {
        let grown = self.log.bytes().saturating_sub(self.log_began_at);
        if grown > self.most_growth {
            let text = format!(
                "the copy is slower than the service writes: {} has grown by {grown} bytes, and cannot be emptied \
                 before the copy is complete; copy to a faster disk, or at a quieter time",
                self.log.path().display()
            );
            return Err(NoBackup(text.into()));
        }
        if room(&self.database)? < ROOM_LEFT {
            return Err(NoBackup(
                "the disk of the database is nearly full; copy to another one".into(),
            ));
        }
        Ok(())
    }
}

/// The room on the disk of a file, in bytes.
fn room(path: &Path) -> Result<u64, NoBackup> {
    let disk = statvfs(path);
    let disk =
        disk.map_err(|e| failed(format!("the disk of {} cannot be looked at", path.display()), e))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Copies on a thread of its own, and gives up if that would harm the service.
async fn copy(database: &Path, partial: &Path, watch: &Watch) -> Result<(), NoBackup> {
    let utf8 = |path: &Path| {
        let text = path.to_str().ok_or_else(|| NoBackup("a path is not UTF-8; use another".into()));
        text.map(str::to_owned)
    };
    let (from, to) = (utf8(database)?, utf8(partial)?);
    let (done, mut copied) = oneshot::channel();
    std::thread::spawn(move || {
        let copied =
            file::establish(&from, BUSY_TIMEOUT).map_err(NoBackup).and_then(|mut connection| {
                let vacuum = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(to);
                let copied = vacuum.execute(&mut connection).map(drop);
                copied.map_err(|e| failed("the database cannot be copied", e))
            });
        let _ = done.send(copied);
    });
    loop {
        match tokio::time::timeout(WATCH_EVERY, &mut copied).await {
            Ok(copied) => return copied.map_err(|e| failed("the copy did not end", e)).flatten(),
            Err(_) => watch.require_no_harm()?,
        }
    }
}

#[derive(QueryableByName)]
struct Fault {
    #[diesel(sql_type = Text)]
    integrity_check: String,
}

/// Checks the copy as SQLite does, and that it is a database of Mintgate; how many sessions it has.
fn examine(partial: &Path) -> Result<i64, NoBackup> {
    let path =
        partial.to_str().ok_or_else(|| NoBackup("a path is not UTF-8; use another".into()))?;
    let mut connection = file::establish(path, BUSY_TIMEOUT).map_err(NoBackup)?;
    let check = diesel::sql_query("PRAGMA integrity_check(1)").load::<Fault>(&mut connection);
    let faults = check.map_err(|e| failed("the copy cannot be read", e))?;
    match faults.as_slice() {
        [one] if one.integrity_check == "ok" => {}
        faults => {
            let fault = faults.first().map_or("no answer", |fault| &fault.integrity_check);
            return Err(NoBackup(format!("the database is damaged: {fault}").into()));
        }
    }
    let count = sessions::table.count().get_result(&mut connection);
    count.map_err(|e| {
        failed("it is no database of Mintgate, or `mintgate migrate` has never run on it", e)
    })
}

/// Makes sure that the copy is on disk, and gives it its name; its size in bytes.
fn put_in_place(partial: &Path, target: &Path) -> Result<u64, NoBackup> {
    let failed = |e| failed("the copy cannot be put into its place", e);
    let file = File::open(partial).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    match renameat_with(CWD, partial, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // Some file systems cannot refuse to replace.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            require_free(target)?;
            fs::rename(partial, target).map_err(failed)?;
        }
        Err(e) => return Err(failed(e.into())),
    }
    let directory = target.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_lets_the_log_grow_too_far_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("mintgate.db");
        fs::write(&database, "").unwrap();
        let log = directory.path().join("mintgate.db-wal");
        fs::write(&log, "as it was").unwrap();
        let mut watch = Watch::of(&database, &directory.path().join("copy.partial")).unwrap();
        watch.most_growth = 100;
        fs::write(&log, [0; 109]).unwrap();
        watch.require_no_harm().unwrap();
        fs::write(&log, [0; 110]).unwrap();
        let NoBackup(cause) = watch.require_no_harm().unwrap_err();
        assert!(cause.to_string().contains("mintgate.db-wal"), "{cause}");
        assert_eq!(Watch::of(&database, &log).unwrap().most_growth, MOST_GROWTH);
    }
}
