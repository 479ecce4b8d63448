//! Tests of the crate through its public interface.

#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod adopt;
mod common;
mod contract;
mod directory;
mod forged;
mod keys;
mod looking_up;
mod presence;
mod replicas;
mod resealing;
mod ring;
mod sealing;
mod tokens;
