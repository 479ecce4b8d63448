//! The embedded SQLite store: diesel-async behind the store ports.
//!
//! One connection writes, a few read. A call is one hop onto a blocking thread, its whole
//! transaction included; the threads that serve requests never wait for the disk.

// Built in, so that a machine needs no SQLite of its own.
use libsqlite3_sys as _;

mod blocking;
mod config;
mod end_provider_sessions;
mod end_session;
mod error;
mod file;
mod find_session;
mod find_user;
mod identities;
mod json;
mod keys;
mod link_identity;
mod migrations;
mod open_session;
mod pool;
mod rotate;
mod schema;
mod session_row;
mod single_use;
mod store;
mod sweep;
mod sweep_duty;
mod unlink_identity;
mod upstream;

pub use config::{CannotOpen, SqliteConfig};
pub use store::SqliteStore;
