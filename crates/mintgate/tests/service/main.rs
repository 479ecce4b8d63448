//! The whole service over real HTTP: a real provider, real stores, real cryptography.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod admission;
mod begun_login;
mod begun_refusals;
mod cold_start;
mod commands;
mod common;
mod connections;
mod csrf;
mod forgeries;
mod http;
mod idempotency;
mod identities;
mod invited;
mod log_output;
mod login;
mod login_parameters;
mod logout;
mod many_connections;
mod metadata;
mod path_prefix;
mod presets;
mod profile;
mod provider_habits;
mod provider_logout;
mod reaching_providers;
mod rechecks;
mod refresh;
mod refusals;
mod refused_too_often;
mod replicas;
mod roles;
mod secrets;
mod sign_out;
mod signals;
mod trouble;
