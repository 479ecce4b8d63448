//! Roles looked up in the operator's own user system over HTTP, behind the
//! [`RoleDirectory`](mintgate_domain::ports::RoleDirectory) port.
//!
//! [`HttpRoleDirectory`] sends one bounded request (`lookup`), checks the roles in the answer as those in
//! the configuration (`answer`), and caches the answer for as long as configured (`memory`). The protocol
//! is documented in `docs/roles.md`.

mod answer;
mod config;
mod directory;
mod lookup;
mod memory;

pub use answer::AnswerError;
pub use config::{RoleDirectoryConfig, RoleDirectoryError};
pub use directory::HttpRoleDirectory;
pub use lookup::{LookupFailure, TransportError};
