//! `mintgate keys adopt`: the keys of a directory become those of the store, with the same `kid`s and in the
//! same states, so that what they have signed stays valid.

use std::collections::BTreeMap;

use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord};
use mintgate_domain::ports::{KeyRepo, StoreError};

use crate::seal::{EncryptionKeys, SealError, Slot};

/// What came of adopting keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The `kid`s of the directory's keys, all of which are in the store now.
    pub keys: Vec<KeyId>,
    /// How many of them were not there before.
    pub added: usize,
}

/// Why keys were not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The directory has no keys.
    #[error("there are no keys in it")]
    NoKeys,
    /// The store has keys that are not the directory's; nothing was changed.
    #[error(
        "the store has signing keys of its own ({}), so nothing was changed. Processes with keys.encryption_key \
         have run on it, and people who signed in there need those keys",
        .0.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", ")
    )]
    OtherKeys(Vec<KeyId>),
    /// Another process has changed the keys in the store meanwhile.
    #[error(
        "another process is changing the signing keys in the store; stop all, and run this again"
    )]
    Contended,
    /// A private key could not be sealed, or does not open as it was sealed.
    #[error("a private key cannot be sealed")]
    Seal(#[from] SealError),
    /// The directory or the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Copies the keys in plain of `from` into `to`, sealed. Whatever is there of them already stays, so that it
/// can be repeated after a failure. The keys of a use are numbered from 1 anew, in the same order.
///
/// # Errors
/// [`AdoptError`]
pub async fn adopt(
    from: &dyn KeyRepo,
    to: &dyn KeyRepo,
    seal: &EncryptionKeys,
) -> Result<Adopted, AdoptError> {
    let mut numbers = BTreeMap::new();
    let renumbered = from.list_keys().await?.into_iter().map(|record| {
        let number = numbers.entry(record.key_use).or_insert(0_u32);
        *number += 1;
        KeyRecord { number: *number, ..record }
    });
    let wanted: Vec<KeyRecord> = renumbered.collect();
    if wanted.is_empty() {
        return Err(AdoptError::NoKeys);
    }
    let slot = |record: &KeyRecord| (record.key_use, record.number, record.id.clone());
    let there = to.list_keys().await?;
    let others = there.iter().filter(|own| wanted.iter().all(|record| slot(record) != slot(own)));
    let others: Vec<KeyId> = others.map(|own| own.id.clone()).collect();
    if !others.is_empty() {
        return Err(AdoptError::OtherKeys(others));
    }
    to.note_sealing_key(seal.current().name()).await?;
    let mut added = 0;
    for record in &wanted {
        if let Some(own) = there.iter().find(|own| slot(own) == slot(record)) {
            if let (Some(at), true) = (record.activates_at, own.activates_at != record.activates_at)
            {
                to.activate_key(record.key_use, &record.id, at).await?;
            }
            continue;
        }
        let label =
            || Slot { key_use: record.key_use, number: record.number, id: &record.id }.label();
        let sealed = seal.current().seal(label(), record.material.expose().as_bytes())?;
        seal.open(&label(), &sealed)?;
        let material = SecretText::new(sealed);
        if !to.add_key(&KeyRecord { material, ..record.clone() }).await? {
            return Err(AdoptError::Contended);
        }
        added += 1;
    }
    Ok(Adopted { keys: wanted.into_iter().map(|record| record.id).collect(), added })
}
