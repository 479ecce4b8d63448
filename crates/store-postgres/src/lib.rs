//! The Postgres store: diesel-async behind the store ports.
//!
//! A call of a port is one statement in one round trip; only a rotation that is not the normal
//! case, and a link that meets another, take more. The database decides every race; a connection
//! that broke is replaced within the call.

mod activate_key;
mod add_key;
mod attempts;
mod claim_sweep;
mod claim_upstream;
mod config;
mod connector;
mod end_provider_sessions;
mod end_session;
mod end_sweep;
mod end_user_sessions;
mod error;
mod find_opening;
mod find_session;
mod find_session_and_user;
mod find_user;
mod identities;
mod json;
mod keep_upstream;
mod link_identity;
mod list_keys;
mod live_sessions;
mod migrations;
mod open_session;
mod pool;
mod refresh_key_in_use;
mod remove_key;
mod rotate;
mod schema;
mod session_row;
mod sql;
mod store;
mod sweep;
mod time;
mod tls;
mod unlink_identity;

pub use config::{InvalidPgConfig, PgConfig};
pub use store::PgStore;
