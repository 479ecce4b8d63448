//! The Mintgate service: settings, HTTP, wiring and commands.

pub mod app;
pub mod dev;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod ops;
pub mod settings;
mod store;
pub mod system;
