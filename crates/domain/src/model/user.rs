//! An internal user.

use super::{Role, Timestamp, UserId};

/// A user of the operator's application, known by one or more external identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The `sub` of our tokens.
    pub id: UserId,
    /// Set when an operator disabled the user: no sign-in, no refresh.
    pub disabled_at: Option<Timestamp>,
    /// Roles an operator gave this user, added to those the rules grant.
    pub granted_roles: Vec<Role>,
}
