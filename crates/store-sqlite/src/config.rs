//! The store's configuration, and the error of opening it.

use std::path::PathBuf;
use std::time::Duration;

use mintgate_domain::Cause;

/// The configuration of the SQLite store.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The path of the database file, which is made if it does not exist; its directory must exist.
    pub path: PathBuf,
    /// The longest that a call waits for a connection, and for another process's lock.
    pub busy_timeout: Duration,
}

/// The database cannot be opened; the cause says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the SQLite database {} cannot be opened", path.display())]
pub struct CannotOpen {
    /// The path of the database file.
    pub path: PathBuf,
    /// The reason, and what to do about it.
    #[source]
    pub cause: Cause,
}
