//! The whole service over real HTTP: a real provider, real stores, real cryptography.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod administration;
mod admission;
mod api_documents;
mod begun_login;
mod begun_refusals;
mod client_address;
mod cold_start;
mod commands;
mod common;
mod connections;
mod csrf;
mod dashboards;
#[cfg(feature = "dev")]
mod dev;
mod encryption_keys;
mod forgeries;
mod gateways;
mod http;
mod idempotency;
mod identities;
mod introspection;
mod invited;
mod killed_renewals;
mod limits;
mod links;
mod log_output;
mod login;
mod login_parameters;
mod logout;
mod many_connections;
mod metadata;
#[cfg(target_os = "linux")]
mod notify;
mod ops_tls;
mod other_keys;
mod path_prefix;
mod presets;
mod profile;
mod provider_habits;
mod provider_logout;
mod provider_tokens;
mod reaching_providers;
mod readable_cookie;
mod rechecks;
mod refresh;
mod refusals;
mod reload;
mod replicas;
mod revocations;
mod roles;
mod secrets;
mod sign_out;
mod signals;
mod tls;
mod trouble;
