//! Who is known.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{ExternalIdentity, User};

/// Looks users up.
#[async_trait]
pub trait UserDirectory: Send + Sync {
    /// The user with this external identity, disabled or not. Issuer and subject MUST be compared
    /// byte for byte.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the store cannot be asked; never `None` in that case.
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<User>, StoreError>;
}
