//! The whole service over real HTTP: a real provider, real stores, real cryptography.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
mod csrf;
mod http;
mod idempotency;
mod login;
mod logout;
mod metadata;
mod refresh;
mod refusals;
mod replicas;
mod secrets;
mod trouble;
