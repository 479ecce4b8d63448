//! The Postgres store: diesel-async behind the store ports.
//!
//! A call of a port is one statement in one round trip. The database decides
//! every race; a connection that broke is replaced within the call.

mod config;
mod connector;
mod error;
mod find_user;
mod migrations;
mod open_session;
mod pool;
mod schema;
mod store;
mod time;
mod tls;

pub use config::{InvalidPgConfig, PgConfig};
pub use store::PgStore;
