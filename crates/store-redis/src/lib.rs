//! Sessions in Redis, and what is kept beside them, behind the session ports; on one server, behind Sentinel,
//! or in a cluster. People are kept elsewhere.
//!
//! A session is one hash. What spans several keys is a series of steps, each atomic and harmless to repeat, in
//! an order in which a crash between two of them leaves no live session behind and forgets no end.
//!
//! There is one file for each port, which implements it next to its calls.

mod administration;
mod config;
mod error;
mod health;
mod housekeeping;
mod json;
mod keys;
mod link;
mod opening;
mod records;
mod revocations;
mod row;
mod scripts;
mod sessions;
mod store;
mod upstream;

pub use config::{RedisConfig, UnusableAddress};
pub use store::RedisStore;
