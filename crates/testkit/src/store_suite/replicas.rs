//! The processes that run on one store.

use std::time::Duration;

use mintgate_domain::model::{KeyId, KeySet, LiveReplica, Replica};

use super::{RACERS, at_once};
use crate::store_under_test::{Dump, StoreUnderTest};

const PATIENCE: Duration = Duration::from_mins(10);
const ALMOST: Duration = Duration::from_mins(9);

fn replica(id: u8, access: &[&str]) -> Replica {
    Replica {
        id: [id; 16],
        name: format!("host-{id} (process {id})"),
        issuer: "https://auth.example.com".to_owned(),
        access: KeySet::Own(access.iter().map(|id| KeyId::new(*id)).collect()),
        refresh: KeySet::OfStore,
    }
}

async fn announced(store: &dyn StoreUnderTest, replica: &Replica) -> Vec<LiveReplica> {
    store.store().replicas.announce(replica, PATIENCE).await.expect("an answer")
}

/// The first bytes of their ids, in order.
async fn ids(store: &dyn StoreUnderTest, replica: &Replica) -> Vec<u8> {
    announced(store, replica).await.iter().map(|live| live.id[0]).collect()
}

fn rows(dump: &Dump) -> usize {
    dump.rows("replicas").len()
}

/// What a process says last is what the others hear.
pub async fn a_replica_is_told_of_itself_and_the_others(store: &dyn StoreUnderTest) {
    let (mut one, mut two) = (replica(1, &["a", "a \u{e9} 'b', {}"]), replica(2, &[]));
    two.refresh = KeySet::Own(vec![KeyId::new("r")]);
    assert_eq!(ids(store, &one).await, [1]);
    let said_first = one.clone();
    one.access = KeySet::OfStore;
    for said in [said_first, one] {
        announced(store, &said).await;
        let live = announced(store, &two).await;
        assert_eq!(live.len(), 2);
        for (live, said) in live.iter().zip([&said, &two]) {
            assert_eq!((live.id, &live.name), (said.id, &said.name));
            assert_eq!((&live.access, &live.refresh), (&said.access, &said.refresh));
            assert!(live.silent_for < Duration::from_mins(1), "{live:?}");
        }
    }
    assert_eq!(rows(&store.dump().await), 2);
}

/// However often it says that it lives.
pub async fn the_order_is_that_in_which_replicas_were_first_heard_of(store: &dyn StoreUnderTest) {
    let [young, old, oldest] = [1, 2, 3].map(|id| replica(id, &["a"]));
    for (one, minutes) in [(&oldest, 3), (&old, 2), (&young, 1)] {
        announced(store, one).await;
        store.age_replica(&one.id, Duration::from_mins(minutes)).await;
    }
    for one in [&young, &oldest, &old, &young] {
        assert_eq!(ids(store, one).await, [3, 2, 1]);
    }
    store.age_replica(&oldest.id, Duration::from_mins(1)).await;
    let live = announced(store, &young).await;
    let silent = live[0].silent_for.as_secs();
    assert!((60..120).contains(&silent), "{live:?}");
}

/// It is forgotten, and begins anew when it speaks again.
pub async fn a_replica_that_is_silent_for_too_long_lives_no_more(store: &dyn StoreUnderTest) {
    let [one, two] = [1, 2].map(|id| replica(id, &["a"]));
    announced(store, &one).await;
    store.age_replica(&one.id, ALMOST).await;
    assert_eq!(ids(store, &two).await, [1, 2]);
    store.age_replica(&one.id, Duration::from_mins(2)).await;
    assert_eq!(ids(store, &two).await, [2]);
    assert_eq!(rows(&store.dump().await), 1);
    store.age_replica(&two.id, Duration::from_mins(1)).await;
    assert_eq!(ids(store, &one).await, [2, 1]);
    // Nobody has looked meanwhile.
    store.age_replica(&two.id, PATIENCE).await;
    assert_eq!(ids(store, &two).await, [1, 2], "it counts from now");
    assert_eq!(ids(store, &one).await, [1, 2]);
}

/// Its clock was set back since it was written.
pub async fn a_replica_of_the_future_lives_no_more(store: &dyn StoreUnderTest) {
    let [one, two] = [1, 2].map(|id| replica(id, &["a"]));
    announced(store, &one).await;
    store.hurry_replica(&one.id, ALMOST).await;
    let live = announced(store, &two).await;
    assert_eq!(live.len(), 2, "{live:?}");
    assert!(live.iter().all(|live| live.silent_for < Duration::from_mins(1)), "{live:?}");
    store.hurry_replica(&one.id, Duration::from_mins(2)).await;
    assert_eq!(ids(store, &two).await, [2]);
}

/// To withdraw twice is to withdraw once.
pub async fn a_replica_that_withdraws_is_forgotten_and_no_other(store: &dyn StoreUnderTest) {
    let [one, two] = [1, 2].map(|id| replica(id, &["a"]));
    announced(store, &one).await;
    announced(store, &two).await;
    for _ in 0..2 {
        store.store().replicas.withdraw(&one.id).await.expect("an end");
        assert_eq!(rows(&store.dump().await), 1);
    }
    assert_eq!(ids(store, &two).await, [2]);
}

/// Their tokens are never shown to one another.
pub async fn replicas_of_another_issuer_are_not_told(store: &dyn StoreUnderTest) {
    let one = replica(1, &["a"]);
    let other = Replica { issuer: "https://other.example.com".to_owned(), ..replica(2, &["x"]) };
    announced(store, &one).await;
    assert_eq!(ids(store, &other).await, [2]);
    assert_eq!(ids(store, &one).await, [1]);
}

/// While all of them forget the same dead ones.
pub async fn many_replicas_at_once_do_not_wait_for_one_another(store: &dyn StoreUnderTest) {
    let racers: Vec<u8> = (1..=RACERS.try_into().expect("a few")).collect();
    for dead in 100..120 {
        announced(store, &replica(dead, &["x"])).await;
    }
    for dead in 100..120 {
        store.age_replica(&[dead; 16], PATIENCE).await;
    }
    for _ in 0..3 {
        let outcomes = at_once(store, racers.clone(), |store, id| async move {
            store.replicas.announce(&replica(id, &["a"]), PATIENCE).await.expect("an answer")
        })
        .await;
        for (id, live) in racers.iter().zip(&outcomes) {
            assert!(live.iter().any(|live| live.id[0] == *id), "{live:?}");
            assert!(live.iter().all(|live| live.id[0] < 100), "{live:?}");
        }
    }
    let mut all = ids(store, &replica(1, &["a"])).await;
    all.sort_unstable();
    assert_eq!(all, racers);
    assert_eq!(rows(&store.dump().await), RACERS);
}
