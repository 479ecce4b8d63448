//! What the store can be told, and why it cannot be opened.

use std::path::PathBuf;
use std::time::Duration;

/// Where the database is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The file; made if it is not there, its directory is not.
    pub path: PathBuf,
    /// How long a call waits for the writer or a reader, and for another process's lock.
    pub busy_timeout: Duration,
}

/// The database cannot be opened; the text says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the SQLite database {} cannot be opened: {reason}", path.display())]
pub struct CannotOpen {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}
