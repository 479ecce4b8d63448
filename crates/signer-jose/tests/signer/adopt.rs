//! Keys of a directory become keys of the store.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::ports::KeyRepo;
use mintgate_signer_jose::{
    AdoptError, EncryptionKeys, FixedKeys, KeyDirectory, KeyInfo, KeyRing, KeySeal, StoredKeys,
    adopt,
};
use mintgate_testkit::{MemoryStore, StoreUnderTest as _};

use crate::common::{World, ring_config};
use crate::sealing::key;

fn ring(world: &World, repo: Arc<dyn KeyRepo>, seal: KeySeal) -> KeyRing {
    let stored = Some(StoredKeys { repo, seal });
    KeyRing::new(ring_config(), stored, FixedKeys::default(), world.clock.clone()).unwrap()
}

/// What is the same after the keys have moved: not their numbers.
fn moved(keys: Vec<KeyInfo>) -> Vec<KeyInfo> {
    keys.into_iter().map(|key| KeyInfo { number: None, ..key }).collect()
}

#[tokio::test]
async fn keys_move_with_their_kids_and_states_once_and_into_an_empty_store_alone() {
    let (world, place) = (World::default(), tempfile::tempdir().unwrap());
    let directory = Arc::new(KeyDirectory::open_or_create(place.path().join("keys")).unwrap());
    let (store, seal) = (MemoryStore::default(), Arc::new(EncryptionKeys::from(key(1))));
    let empty = adopt(&*directory, &store, &seal).await.unwrap_err();
    assert!(matches!(empty, AdoptError::NoKeys), "{empty}");

    let before = ring(&world, directory.clone(), KeySeal::Plain);
    before.apply_due_changes(&*world.sessions).await.unwrap();
    // The first access key goes, so that numbers do not begin with 1; then there is a former one.
    let first = before.keys().first().unwrap().id.clone();
    before.retire(&first).await.unwrap();
    world.clock.advance(Duration::from_hours(1));
    before.rotate(mintgate_domain::model::KeyUse::Access).await.unwrap();
    assert_eq!(before.keys().len(), 5);

    let adopted = adopt(&*directory, &store, &seal).await.unwrap();
    assert_eq!((adopted.added, adopted.keys.len()), (5, 5));
    let after = ring(&world, Arc::new(store.clone()), KeySeal::Sealed(seal.clone()));
    after.load().await.unwrap();
    assert_eq!(moved(after.keys()), moved(before.keys()));
    let plain = directory.list_keys().await.unwrap();
    let dump = format!("{:?}", store.dump().await);
    assert!(plain.iter().all(|record| !dump.contains(record.material.expose())));

    let sealed = store.dump().await;
    assert_eq!(adopt(&*directory, &store, &seal).await.unwrap().added, 0);
    assert_eq!(store.dump().await, sealed);
    // A rotation in the directory meanwhile is made up for.
    let next =
        before.keys().iter().rfind(|key| key.key_use.name() == "refresh").unwrap().id.clone();
    world.clock.advance(Duration::from_hours(1));
    before.rotate(mintgate_domain::model::KeyUse::Refresh).await.unwrap();
    assert_eq!(adopt(&*directory, &store, &seal).await.unwrap().added, 1);
    after.load().await.unwrap();
    assert_eq!(moved(after.keys()), moved(before.keys()));
    assert!(after.keys().iter().any(|key| key.id == next));

    let other = MemoryStore::default();
    ring(&world, Arc::new(other.clone()), KeySeal::Sealed(seal.clone()))
        .apply_due_changes(&*world.sessions)
        .await
        .unwrap();
    let own = other.dump().await;
    let refused = adopt(&*directory, &other, &seal).await.unwrap_err();
    assert!(matches!(refused, AdoptError::OtherKeys(_)), "{refused}");
    assert_eq!(other.dump().await, own);
}
