//! Sign-in requests that may be repeated.

use async_trait::async_trait;

use super::StoreError;
use crate::TokenHash;
use crate::model::{IdempotencyKey, SessionId, Timestamp};

/// Finds the session that a request with an `Idempotency-Key` has opened. The record is stored with
/// the session ([`SessionOpening::idempotency`](crate::model::SessionOpening::idempotency)).
#[async_trait]
pub trait IdempotencyRecords: Send + Sync {
    /// The request that used this key, and the session it opened, if the record has not expired at
    /// `now`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError>;
}
