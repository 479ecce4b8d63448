//! Who may use the admin API.

use crate::TokenHash;

/// A bearer token of the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// What the log calls whoever uses it.
    pub name: String,
    /// The SHA-256 of its text.
    pub hash: TokenHash,
    /// Whether it is good for changes, and not for looking alone.
    pub may_write: bool,
}
