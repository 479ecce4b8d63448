//! The Mintgate service: commands, wiring and background tasks.

pub mod app;
mod background;
#[cfg(feature = "dev")]
pub mod dev;
pub mod keys;
pub mod logging;
mod operations;
mod providers;
mod replicas;
pub mod roles_command;
mod store;
pub mod system;
mod wiring;

pub use mintgate_settings as settings;
