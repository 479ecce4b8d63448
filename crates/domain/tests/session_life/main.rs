//! The life of a session after its opening, on fakes: what cannot be arranged over HTTP, above all
//! what happens between two steps, and what happens at which second.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod administration;
mod app_access;
mod audit;
mod clean_up;
mod identities;
mod introspection;
mod login;
mod oversized;
mod own_sessions;
mod people_import;
mod profile;
mod provider_logout;
mod refresh;
mod repeats;
mod restore;
mod rig;
mod roles;
mod sign_out;
mod users_elsewhere;
