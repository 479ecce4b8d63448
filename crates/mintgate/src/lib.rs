//! The Mintgate service: settings, HTTP, wiring and commands.

pub mod app;
mod background;
pub mod dev;
pub mod http;
pub mod keys;
pub mod logging;
pub mod metrics;
mod ops;
mod parts;
mod providers;
pub mod roles_command;
pub mod settings;
mod store;
pub mod system;
