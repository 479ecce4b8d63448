//! The operator's own user system, which knows roles that no provider does.

use async_trait::async_trait;

use crate::Cause;
use crate::model::{ExternalIdentity, ProviderId, Role, UserId};

/// The user whose roles are looked up.
#[derive(Debug, Clone, Copy)]
pub struct RoleQuestion<'a> {
    /// The user, the `sub` of our tokens.
    pub user: UserId,
    /// The provider of the sign-in.
    pub provider: &'a ProviderId,
    /// The user's identity at the provider.
    pub identity: &'a ExternalIdentity,
}

/// The roles of a user could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the roles could not be looked up")]
pub struct RoleLookupError(#[source] pub Cause);

/// Looks roles up in another system. MUST bound every wait and every answer.
#[async_trait]
pub trait RoleDirectory: Send + Sync {
    /// The roles of a person; empty for somebody it does not know. An answer may be remembered for as
    /// long as the operator allows.
    ///
    /// # Errors
    /// If it cannot be asked or gives no proper answer; never empty in that case.
    async fn roles(&self, question: RoleQuestion<'_>) -> Result<Vec<Role>, RoleLookupError>;
}
