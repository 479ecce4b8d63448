//! Tests against a real Postgres, each on a database of its own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_certificates;
mod cluster;
mod contract;
mod faults;
mod harness;
mod identities;
mod pooler;
mod revocations;
mod rotation;
mod schema;
mod search;
mod statements;
mod storage;
mod synchronous;
mod tls;
mod upgrade;
mod upkeep;
