//! Tests against real files, each test with one of its own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod corrupt;
mod file;
mod harness;
mod identities;
mod migrations;
mod rotation;
mod search;
mod sweep;
