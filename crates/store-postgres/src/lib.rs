//! The Postgres store: diesel-async behind the store ports.
//!
//! One file a port. A call of a port is one statement in one round trip, except those that end many
//! sessions at once, which are one transaction. The database decides every race; a connection that
//! broke is replaced within the call.

mod administration;
mod audit;
mod config;
mod connector;
mod driver;
mod duties;
mod error;
mod examination;
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
mod rights;
mod schema;
mod search;
mod session_engines;
mod sessions;
mod shared_counts;
mod sql;
mod standby;
mod store;
mod time;
mod tls;
mod upstream_tokens;
mod users;

pub use config::{InvalidPgConfig, PgConfig, Pooling};
pub use store::PgStore;
