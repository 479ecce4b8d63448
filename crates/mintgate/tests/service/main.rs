//! The whole service over real HTTP: a real provider, real stores, real cryptography.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
mod http;
mod login;
mod refusals;
mod trouble;
