//! The embedded SQLite store: diesel-async behind the store ports.
//!
//! One connection writes, a few read. A call is one hop onto a blocking thread, its whole
//! transaction included; the threads that serve requests never wait for the disk.
//!
//! There is one file for each port, which implements it next to its statements.

// Built in, so that a machine needs no SQLite of its own.
use libsqlite3_sys as _;

mod administration;
mod audit;
mod backup;
mod blocking;
mod config;
mod duties;
mod error;
mod examination;
mod file;
mod housekeeping;
mod idempotency_records;
mod json;
mod keys;
mod migrations;
mod once_marks;
mod people_import;
mod pool;
mod replicas;
mod revocations;
mod row;
mod schema;
mod search;
mod session_engines;
mod sessions;
mod store;
mod upstream_tokens;
mod users;
mod write_ahead;

pub use backup::{Backup, NoBackup, back_up};
pub use config::{CannotOpen, SqliteConfig};
pub use store::SqliteStore;
