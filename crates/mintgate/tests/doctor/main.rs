//! `mintgate doctor`: each planted mistake is found, and nothing else is called wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod origins_and_service;
mod providers;
mod rig;
mod store_and_keys;
