//! Tests against real servers, each test with one of its own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod harness;
mod replicas;
mod topologies;
mod trouble;
