//! The records of signing keys.

use async_trait::async_trait;
use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::{KeyRepo, StoreError};

use super::{MemoryStore, State};

impl State {
    fn add_key(&mut self, record: &KeyRecord) -> bool {
        let of_use = self.keys.keys().filter(|(key_use, _)| *key_use == record.key_use);
        let highest = of_use.map(|(_, number)| *number).max().unwrap_or(0);
        let is_new = self.keys.values().all(|key| key.id != record.id);
        let fits = record.number == highest + 1 && is_new;
        if fits {
            self.keys.insert((record.key_use, record.number), record.clone());
        }
        fits
    }

    fn activate_key(&mut self, key_use: KeyUse, id: &KeyId, at: Timestamp) -> bool {
        let mut keys = self.keys.values_mut();
        match keys.find(|key| key.key_use == key_use && key.id == *id) {
            Some(key) if key.activates_at.is_none_or(|before| at < before) => {
                key.activates_at = Some(at);
                true
            }
            _ => false,
        }
    }
}

#[async_trait]
impl KeyRepo for MemoryStore {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.with(|state| state.keys.values().cloned().collect())
    }

    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError> {
        self.with(|state| state.add_key(record))
    }

    async fn activate_key(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.with(|state| state.activate_key(key_use, id, at))
    }

    async fn remove_key(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, StoreError> {
        self.with(|state| {
            let before = state.keys.len();
            state.keys.retain(|(its_use, _), key| *its_use != key_use || key.id != *id);
            state.keys.len() < before
        })
    }

    async fn reseal_key(
        &self,
        record: &KeyRecord,
        material: &SecretText,
    ) -> Result<bool, StoreError> {
        self.with(|state| {
            let key = state.keys.get_mut(&(record.key_use, record.number));
            let key = key.filter(|key| key.id == record.id && key.material == record.material);
            key.map(|key| key.material = material.clone()).is_some()
        })
    }

    async fn sealing_keys(&self) -> Result<Vec<String>, StoreError> {
        self.with(|state| state.sealing_keys.iter().cloned().collect())
    }

    async fn note_sealing_key(&self, name: &str) -> Result<(), StoreError> {
        self.with(|state| {
            state.sealing_keys.insert(name.to_owned());
        })
    }

    async fn forget_sealing_key(&self, name: &str) -> Result<(), StoreError> {
        self.with(|state| {
            state.sealing_keys.remove(name);
        })
    }
}
