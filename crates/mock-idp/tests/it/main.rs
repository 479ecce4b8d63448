//! The mock over real HTTP.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod authorize;
mod binary;
mod client_auth;
mod control;
mod dialects;
mod end_session;
mod faults;
mod id_tokens;
mod logout_tokens;
mod refresh;
mod support;
mod token;
