//! A process and what the store tells it of others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::KeyDoubt;
use mintgate_domain::model::{KeyId, KeySet, LiveReplica, Replica, ReplicaId};
use mintgate_domain::ports::{Replicas, StoreError};
use mintgate_signer_jose::{FixedKeys, KeyRing, KeySeal, Presence};
use mintgate_testkit::SeededEntropy;

use crate::common::{World, ring_config};

const SECOND: Duration = Duration::from_secs(1);
/// How long a process may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another process, and how long it has been silent.
#[derive(Clone)]
struct Other {
    keys: &'static str,
    came_first: bool,
    silent_for: Duration,
}

const STRANGER: Other = Other { keys: "x", came_first: true, silent_for: Duration::ZERO };

type Story = Box<dyn Fn(u32) -> Result<Vec<Other>, StoreError> + Send + Sync>;

/// A store, and what it says at which call.
struct Scripted {
    says: Story,
    calls: Mutex<(u32, u32)>,
    /// The keys that the process last said it had, for each use.
    said: Mutex<Vec<KeySet>>,
}

#[async_trait]
impl Replicas for Scripted {
    async fn announce(
        &self,
        replica: &Replica,
        _: Duration,
    ) -> Result<Vec<LiveReplica>, StoreError> {
        let call = {
            let mut calls = self.calls.lock().unwrap();
            calls.0 += 1;
            calls.0
        };
        *self.said.lock().unwrap() = vec![replica.access.clone(), replica.refresh.clone()];
        let live = |id, name: &str, keys: &KeySet, silent_for| LiveReplica {
            id,
            name: name.to_owned(),
            access: keys.clone(),
            refresh: keys.clone(),
            silent_for,
        };
        let mut all = vec![live(replica.id, "this one", &replica.access, Duration::ZERO)];
        all[0].refresh = replica.refresh.clone();
        for (n, other) in (1..).zip((self.says)(call)?) {
            let keys = KeySet::Own(vec![KeyId::new(other.keys)]);
            let at = if other.came_first { 0 } else { all.len() };
            all.insert(at, live([n; 16], "the other", &keys, other.silent_for));
        }
        Ok(all)
    }

    async fn withdraw(&self, _: &ReplicaId) -> Result<(), StoreError> {
        self.calls.lock().unwrap().1 += 1;
        Ok(())
    }
}

struct Told {
    presence: Presence,
    store: Arc<Scripted>,
}

impl Told {
    async fn of(
        says: impl Fn(u32) -> Result<Vec<Other>, StoreError> + Send + Sync + 'static,
    ) -> Self {
        let ring = World::default().started(ring_config()).await.ring;
        Self::with(ring, says)
    }

    fn with(
        ring: Arc<KeyRing>,
        says: impl Fn(u32) -> Result<Vec<Other>, StoreError> + Send + Sync + 'static,
    ) -> Self {
        let says = Box::new(says);
        let store = Arc::new(Scripted { says, calls: Mutex::default(), said: Mutex::default() });
        let presence =
            Presence::new("me".into(), "us".into(), store.clone(), ring, &SeededEntropy::new(1));
        tokio::time::pause();
        Self { presence, store }
    }

    /// How often it said that it lives, and that it ends.
    fn calls(&self) -> (u32, u32) {
        *self.store.calls.lock().unwrap()
    }
}

fn down() -> StoreError {
    StoreError::Unavailable("connection refused".into())
}

#[tokio::test]
async fn who_is_alone_or_came_first_starts_at_once() {
    for others in [vec![], vec![Other { came_first: false, ..STRANGER }]] {
        let told = Told::of(move |_| Ok(others.clone())).await;
        told.presence.start().await.unwrap();
        assert_eq!(told.calls(), (1, 0));
        assert!(told.presence.doubt().is_none());
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_killed_process_with_other_keys_is_waited_for_until_it_counts_as_dead() {
    let told = Told::of(|call| {
        let silent_for = SECOND * (4 + call);
        let lives = silent_for < PATIENCE;
        Ok(if lives { vec![Other { silent_for, ..STRANGER }] } else { vec![] })
    })
    .await;
    told.presence.start().await.unwrap();
    assert_eq!(told.calls(), (26, 0), "a look each second");
    assert!(told.presence.doubt().is_none());
}

#[tokio::test]
async fn a_process_with_other_keys_that_says_again_that_it_lives_is_given_way_to() {
    // It said so nine seconds before the first look, and says so again a second after it.
    let told = Told::of(|call| {
        let silent_for = if call <= 2 { SECOND * (8 + call) } else { SECOND * (call - 3) };
        Ok(vec![Other { silent_for, ..STRANGER }])
    })
    .await;
    let conflict = told.presence.start().await.unwrap_err();
    assert_eq!(conflict.other, "the other");
    assert!(conflict.to_string().contains("keys.encryption_key"), "{conflict}");
    assert_eq!(told.calls(), (3, 1), "and its own row is gone");
}

#[tokio::test]
async fn a_store_that_is_down_stops_no_start_but_nothing_is_ready_before_it_has_answered() {
    let told = Told::of(|call| if call == 1 { Err(down()) } else { Ok(vec![]) }).await;
    assert!(matches!(told.presence.doubt(), Some(KeyDoubt::Unknown(None))));
    told.presence.start().await.unwrap();
    let doubt = told.presence.doubt();
    assert!(
        matches!(&doubt, Some(KeyDoubt::Unknown(Some(error))) if *error == down()),
        "{doubt:?}"
    );
    assert_eq!(told.presence.pause(), SECOND, "it is tried again soon");
    told.presence.announce().await.unwrap();
    assert!(told.presence.doubt().is_none() && told.presence.pause() > SECOND);
}

#[tokio::test]
async fn who_meets_an_older_process_with_other_keys_is_not_ready_until_that_is_gone() {
    let told = Told::of(|call| match call {
        2 => Ok(vec![STRANGER]),
        3 => Err(down()),
        _ => Ok(vec![]),
    })
    .await;
    told.presence.start().await.unwrap();
    for _ in 0..2 {
        told.presence.announce().await.ok();
        let doubt = told.presence.doubt();
        assert!(matches!(doubt, Some(KeyDoubt::GivesWay(_))), "the last word counts: {doubt:?}");
    }
    told.presence.announce().await.unwrap();
    assert!(told.presence.doubt().is_none());
}

#[tokio::test]
async fn keys_in_the_store_are_told_as_such_and_others_by_their_ids() {
    for in_store in [false, true] {
        let key = crate::sealing::key(7);
        let seal = if in_store { KeySeal::Sealed(Arc::new(key.into())) } else { KeySeal::Plain };
        let replica = World::default().replica_with(ring_config(), seal, FixedKeys::default());
        replica.apply_due_changes().await;
        let told = Told::with(replica.ring, |_| Ok(vec![]));
        assert_eq!(told.presence.announce().await, Ok(None));
        for keys in &*told.store.said.lock().unwrap() {
            match keys {
                KeySet::OfStore => assert!(in_store),
                KeySet::Own(ids) => assert!(!in_store && ids.len() == 2, "{ids:?}"),
            }
        }
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_second_process_on_a_store_for_one_is_told_and_a_killed_one_is_not() {
    for (is_alive, is_told) in [(true, Some("the other".to_owned())), (false, None)] {
        let mut told = Told::of(move |call| {
            let silent_for = if is_alive { SECOND * 3 } else { SECOND * (3 + 10 * (call - 1)) };
            Ok(vec![Other { came_first: false, silent_for, ..STRANGER }])
        })
        .await;
        told.presence.is_to_be_alone = true;
        told.presence.start().await.unwrap();
        assert_eq!(told.presence.company(), None, "it may have been killed");
        tokio::time::advance(SECOND * 10).await;
        told.presence.announce().await.unwrap();
        assert_eq!(told.presence.company(), is_told);
        tokio::time::resume();
    }
}
