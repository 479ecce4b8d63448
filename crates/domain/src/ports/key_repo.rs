//! Where the ring of signing keys is kept, for all replicas.

use async_trait::async_trait;

use super::StoreError;
use crate::SecretText;
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

    /// Replaces the private part of a record by the same one, sealed anew, if the record still has the
    /// private part that it has here. `false` if it was not replaced.
    ///
    /// A repository that keeps private keys in plain is never asked, and keeps the default.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn reseal_key(
        &self,
        _record: &KeyRecord,
        _material: &SecretText,
    ) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// The names of the key-encryption keys under which anything in the store may be sealed: those that
    /// were noted and not forgotten since, in alphabetical order.
    ///
    /// A repository that keeps private keys in plain keeps the default, as with the next two methods.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn sealing_keys(&self) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }

    /// Notes the name of a key-encryption key before anything is sealed under it, durably.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn note_sealing_key(&self, _name: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// Forgets the name of a key-encryption key under which nothing is sealed any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn forget_sealing_key(&self, _name: &str) -> Result<(), StoreError> {
        Ok(())
    }
}
