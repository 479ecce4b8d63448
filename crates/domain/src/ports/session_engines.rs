//! Which engine the sessions are in.

use async_trait::async_trait;

use super::StoreError;
use crate::model::Timestamp;

/// Records, in the store of users, which engine the sessions are in, so that all processes use the same one, and
/// so that an engine is noticed that has lost what it had.
///
/// Every method returns [`StoreError::Unavailable`] when the store cannot be asked.
#[async_trait]
pub trait SessionEngines: Send + Sync {
    /// The mark that was left in the engine that the sessions are in; `None` if they are with the users. MUST NOT
    /// wait for a connection that requests use.
    async fn session_engine(&self) -> Result<Option<String>, StoreError>;

    /// Records that the sessions are in the engine with this mark, of 1 to 64 characters, or with the users for
    /// `None`, if what is recorded is still `before`; `false`, with nothing written, if it is not. Of several
    /// callers with one `before`, exactly one MUST get `true`.
    async fn record_session_engine(
        &self,
        before: Option<&str>,
        mark: Option<&str>,
    ) -> Result<bool, StoreError>;

    /// Whether a session is with the users that is live at `now`.
    async fn has_sessions(&self, now: Timestamp) -> Result<bool, StoreError>;
}
