//! Roles looked up in the operator's own user system over HTTP, behind the
//! [`RoleDirectory`](mintgate_domain::ports::RoleDirectory) port.
//!
//! [`HttpRoleDirectory`] asks with one bounded request (`asker`), reads the answer as strictly as
//! the configuration is read (`answer`), and remembers it for as long as it is allowed (`memory`).
//! What both sides say to each other is written down in `docs/roles.md`.

mod answer;
mod asker;
mod config;
mod directory;
mod memory;

pub use config::{RoleDirectoryConfig, RoleDirectoryError};
pub use directory::HttpRoleDirectory;
