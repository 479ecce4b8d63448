//! The ring of signing keys.

use std::time::Duration;

use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};

use super::{RACERS, at_once, count};
use crate::openings::NOW;
use crate::store_under_test::StoreUnderTest;

const HOUR: Duration = Duration::from_hours(1);

fn key(key_use: KeyUse, number: u32, id: &str) -> KeyRecord {
    KeyRecord {
        key_use,
        number,
        id: KeyId::new(id),
        material: SecretText::new(format!("sealed material of {id}")),
        created_at: NOW,
        activates_at: None,
    }
}

async fn list(store: &dyn StoreUnderTest) -> Vec<KeyRecord> {
    store.store().keys.list_keys().await.expect("the keys")
}

async fn add(store: &dyn StoreUnderTest, record: &KeyRecord) -> bool {
    store.store().keys.add_key(record).await.expect("an answer")
}

async fn activate(store: &dyn StoreUnderTest, key_use: KeyUse, id: &str, at: Timestamp) -> bool {
    store.store().keys.activate_key(key_use, &KeyId::new(id), at).await.expect("an answer")
}

async fn remove(store: &dyn StoreUnderTest, key_use: KeyUse, id: &str) -> bool {
    store.store().keys.remove_key(key_use, &KeyId::new(id)).await.expect("an answer")
}

/// Adds a key, which must not work, and must not change anything.
async fn is_not_added(store: &dyn StoreUnderTest, record: &KeyRecord) {
    let before = store.dump().await;
    assert!(!add(store, record).await, "{record:?}");
    assert_eq!(store.dump().await, before);
}

/// The key ring makes its keys at the first start.
pub async fn a_fresh_store_has_no_keys(store: &dyn StoreUnderTest) {
    assert_eq!(list(store).await, []);
}

/// The private part is read back byte for byte.
pub async fn every_column_of_a_key_survives(store: &dyn StoreUnderTest) {
    let mut standing_by = key(KeyUse::Refresh, 1, "Zoë's 'key'");
    standing_by.material = SecretText::new("eyJ.\"\\'\u{1f511}\n".repeat(500));
    standing_by.created_at = Timestamp::from_unix(-1);
    let mut active = key(KeyUse::Access, 1, "another");
    active.activates_at = Some(NOW + HOUR);
    assert!(add(store, &standing_by).await);
    assert!(add(store, &active).await);
    assert_eq!(list(store).await, [active, standing_by]);
}

/// Number 10 comes after number 2, whichever was added first.
pub async fn keys_are_listed_by_use_and_number(store: &dyn StoreUnderTest) {
    let mut expected = vec![];
    for key_use in [KeyUse::Refresh, KeyUse::Access] {
        for number in 1..=11 {
            let record = key(key_use, number, &format!("{}-{}", key_use.name(), 99 - number));
            assert!(add(store, &record).await);
            expected.push(record);
        }
    }
    expected.rotate_left(11);
    assert_eq!(list(store).await, expected);
}

/// Each use has its own numbers, from 1; the highest number can be used again after its removal.
pub async fn only_the_next_number_of_a_use_is_added(store: &dyn StoreUnderTest) {
    for number in [0, 2, 3] {
        is_not_added(store, &key(KeyUse::Access, number, "too early")).await;
    }
    assert!(add(store, &key(KeyUse::Access, 1, "a1")).await);
    assert!(add(store, &key(KeyUse::Access, 2, "a2")).await);
    for number in [0, 1, 2, 4] {
        is_not_added(store, &key(KeyUse::Access, number, "not next")).await;
    }
    is_not_added(store, &key(KeyUse::Refresh, 3, "of another use")).await;
    assert!(add(store, &key(KeyUse::Refresh, 1, "r1")).await);

    assert!(remove(store, KeyUse::Access, "a1").await);
    is_not_added(store, &key(KeyUse::Access, 1, "below the highest")).await;
    assert!(add(store, &key(KeyUse::Access, 3, "a3")).await);
    let ids: Vec<_> = list(store).await.into_iter().map(|key| key.id).collect();
    assert_eq!(ids, ["a2", "a3", "r1"].map(KeyId::new));
}

/// A `kid` names one key, of either use.
pub async fn a_key_id_is_added_once(store: &dyn StoreUnderTest) {
    assert!(add(store, &key(KeyUse::Access, 1, "one")).await);
    is_not_added(store, &key(KeyUse::Access, 1, "one")).await;
    is_not_added(store, &key(KeyUse::Access, 2, "one")).await;
    is_not_added(store, &key(KeyUse::Refresh, 1, "one")).await;
    assert!(add(store, &key(KeyUse::Refresh, 1, "ONE")).await, "compared byte for byte");
}

/// Replicas that start or rotate together add one key.
pub async fn of_many_at_once_one_adds_the_next_key(store: &dyn StoreUnderTest) {
    for number in 1..=3 {
        let records = (0..RACERS).map(|n| key(KeyUse::Access, number, &format!("{number}-{n}")));
        let added = at_once(store, records, |store, record| async move {
            store.keys.add_key(&record).await.expect("an answer")
        })
        .await;
        assert_eq!(count(&added, &true), 1, "{added:?}");
        let winner = added.iter().position(|added| *added).expect("a winner");
        let last = list(store).await.pop().expect("a key");
        assert_eq!(last, key(KeyUse::Access, number, &format!("{number}-{winner}")));
    }
    assert_eq!(list(store).await.len(), 3);
}

/// An activation is never put off, and a key that signs goes on signing.
pub async fn activating_a_key_only_brings_it_forward(store: &dyn StoreUnderTest) {
    let other = key(KeyUse::Refresh, 1, "other");
    assert!(add(store, &key(KeyUse::Access, 1, "one")).await);
    assert!(add(store, &other).await);
    assert!(!activate(store, KeyUse::Refresh, "one", NOW).await, "of another use");
    assert!(!activate(store, KeyUse::Access, "none", NOW).await);
    assert_eq!(list(store).await[0].activates_at, None);

    for (at, changes) in [
        (NOW + HOUR * 3, true),
        (NOW + HOUR * 3, false),
        (NOW + HOUR * 4, false),
        (NOW + HOUR, true),
        (NOW + HOUR * 2, false),
    ] {
        let before = store.dump().await;
        assert_eq!(activate(store, KeyUse::Access, "one", at).await, changes);
        assert_eq!(store.dump().await != before, changes);
    }
    let one = KeyRecord { activates_at: Some(NOW + HOUR), ..key(KeyUse::Access, 1, "one") };
    assert_eq!(list(store).await, [one, other]);
}

/// The private part is deleted with the record.
pub async fn a_removed_key_is_gone_and_no_other(store: &dyn StoreUnderTest) {
    let others = [key(KeyUse::Access, 2, "a2"), key(KeyUse::Refresh, 1, "r1")];
    assert!(add(store, &key(KeyUse::Access, 1, "a1")).await);
    for other in &others {
        assert!(add(store, other).await);
    }
    let before = store.dump().await;
    assert!(!remove(store, KeyUse::Refresh, "a1").await, "of another use");
    assert!(!remove(store, KeyUse::Access, "none").await);
    assert_eq!(store.dump().await, before);
    assert!(remove(store, KeyUse::Access, "a1").await);
    assert!(!remove(store, KeyUse::Access, "a1").await);
    assert_eq!(list(store).await, others);
    let dump = format!("{:?}", store.dump().await);
    assert!(!dump.contains("material of a1") && dump.contains("material of a2"), "{dump}");
}

/// A key that another process has sealed anew meanwhile, or removed, stays as it is.
pub async fn a_key_is_resealed_while_it_is_the_same(store: &dyn StoreUnderTest) {
    let (first, other) = (key(KeyUse::Access, 1, "first"), key(KeyUse::Refresh, 1, "other"));
    for record in [&first, &other] {
        assert!(add(store, record).await);
    }
    let repo = store.store().keys;
    let anew = SecretText::new("sealed anew");
    assert_eq!(repo.reseal_key(&first, &anew).await, Ok(true));
    assert_eq!(repo.reseal_key(&first, &anew).await, Ok(false));
    assert_eq!(repo.reseal_key(&key(KeyUse::Access, 1, "none"), &anew).await, Ok(false));
    assert_eq!(list(store).await, [KeyRecord { material: anew, ..first }, other]);
}

/// A name is noted once, however often, and does not come back by itself.
pub async fn sealing_keys_are_noted_until_they_are_forgotten(store: &dyn StoreUnderTest) {
    let repo = store.store().keys;
    assert_eq!(repo.sealing_keys().await, Ok(vec![]));
    for name in ["b", "a", "b"] {
        repo.note_sealing_key(name).await.expect("an answer");
    }
    assert_eq!(repo.sealing_keys().await, Ok(vec!["a".to_owned(), "b".to_owned()]));
    for name in ["a", "a", "c"] {
        repo.forget_sealing_key(name).await.expect("an answer");
    }
    assert_eq!(repo.sealing_keys().await, Ok(vec!["b".to_owned()]));
}
