//! The Mintgate service: commands, wiring and background tasks.

pub mod app;
mod background;
mod certificates;
pub mod commands;
#[cfg(feature = "dev")]
pub mod dev;
pub mod keys;
mod operations;
pub mod people_import;
mod providers;
pub mod reload;
pub mod roles_command;
mod session_engine;
pub mod signals;
mod store;
pub mod system;
mod wiring;

pub use mintgate_settings as settings;
