//! Marks of what counts once.

use async_trait::async_trait;

use super::StoreError;
use crate::TokenHash;
use crate::model::SingleUse;

/// Keeps the marks of what counts once: ID tokens that clients posted, logins that were begun here,
/// providers' logout orders.
///
/// Where a mark belongs to a session, it is stored with the session
/// ([`SessionOpening::single_use`](crate::model::SessionOpening::single_use)); this port is for what
/// is used elsewhere. A mark MUST outlive a restart of the store until it expires: what it marks would count
/// a second time.
#[async_trait]
pub trait OnceMarks: Send + Sync {
    /// Stores a mark durably; `false` if it is stored already. Of several callers with one mark,
    /// exactly one MUST get `true`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn claim(&self, mark: &SingleUse) -> Result<bool, StoreError>;

    /// Whether a mark is stored.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn is_claimed(&self, hash: TokenHash) -> Result<bool, StoreError>;
}
