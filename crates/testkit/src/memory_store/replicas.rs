//! The processes that run on the store in memory.

use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{LiveReplica, Replica, ReplicaId, Timestamp};
use mintgate_domain::ports::{Replicas, StoreError};

use super::{MemoryStore, State};

/// A process, since when it has lived without a break, and when it last said so.
#[derive(Debug)]
pub(super) struct Announced {
    replica: Replica,
    known_since: Timestamp,
    seen_at: Timestamp,
}

impl Announced {
    pub(super) fn age(&mut self, by: Duration) {
        self.known_since = self.known_since - by;
        self.seen_at = self.seen_at - by;
    }

    pub(super) fn hurry(&mut self, by: Duration) {
        self.seen_at = self.seen_at + by;
    }
}

impl State {
    fn announce(&mut self, replica: &Replica, patience: Duration) -> Vec<LiveReplica> {
        let now = self.now.unwrap_or(Timestamp::from_unix(0));
        self.replicas.retain(|_, one| one.seen_at > now - patience && one.seen_at < now + patience);
        let known = self.replicas.get(&replica.id).map(|one| one.known_since);
        let known_since = known.unwrap_or(now);
        let announced = Announced { replica: replica.clone(), known_since, seen_at: now };
        self.replicas.insert(replica.id, announced);
        let of_issuer = self.replicas.values().filter(|one| one.replica.issuer == replica.issuer);
        let mut live: Vec<_> = of_issuer.collect();
        live.sort_by_key(|one| (one.known_since, one.replica.id));
        let live = live.into_iter().map(|Announced { replica, seen_at, .. }| LiveReplica {
            id: replica.id,
            name: replica.name.clone(),
            access: replica.access.clone(),
            refresh: replica.refresh.clone(),
            silent_for: Duration::from_secs(
                (now.as_unix() - seen_at.as_unix()).try_into().unwrap_or_default(),
            ),
        });
        live.collect()
    }
}

#[async_trait]
impl Replicas for MemoryStore {
    async fn announce(
        &self,
        replica: &Replica,
        patience: Duration,
    ) -> Result<Vec<LiveReplica>, StoreError> {
        self.with(|state| state.announce(replica, patience))
    }

    async fn withdraw(&self, id: &ReplicaId) -> Result<(), StoreError> {
        self.with(|state| {
            state.replicas.remove(id);
        })
    }
}
