//! Where the ring of signing keys is kept, for all replicas.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{KeyId, KeyRecord, KeyUse, Timestamp};

/// Keeps the records of signing keys. Whoever keeps them need not be able to read them.
#[async_trait]
pub trait KeyRepo: Send + Sync {
    /// Every record, by use and number.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError>;

    /// Adds a record durably, if its number follows the highest of its use (1 if there is none) and
    /// its id is new. `false` if it was not added: of several callers with one number, one wins.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError>;

    /// Has a key sign from `at` on. `false` if there is no such key, or it signs from then or
    /// earlier anyway.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn activate_key(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Removes a key, its private part included. `false` if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn remove_key(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, StoreError>;
}
