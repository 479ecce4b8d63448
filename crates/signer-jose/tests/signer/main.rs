//! The crate's tests, over its public interface.

#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod common;
mod contract;
mod directory;
mod keys;
mod tokens;
