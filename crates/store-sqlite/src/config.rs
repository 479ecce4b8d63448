//! The store's configuration, and the error of opening it.

use std::path::PathBuf;
use std::time::Duration;

use mintgate_domain::Cause;

/// The configuration of the store.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The file; made if it is not there, its directory is not.
    pub path: PathBuf,
    /// How long a call waits for the writer or a reader, and for another process's lock.
    pub busy_timeout: Duration,
}

/// The database cannot be opened; the cause says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the SQLite database {} cannot be opened", path.display())]
pub struct CannotOpen {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub cause: Cause,
}
