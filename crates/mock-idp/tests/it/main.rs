//! The mock over real HTTP.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod authorize;
mod binary;
mod control;
mod faults;
mod id_tokens;
mod support;
mod token;
