//! Which processes run on one store.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{LiveReplica, Replica, ReplicaId};

/// The processes that run on one store and say so again and again.
#[async_trait]
pub trait Replicas: Send + Sync {
    /// Notes that a process lives and which keys it has. Answers with every process of the same issuer
    /// that lives, this one among them: those that said so less than `patience` ago, in the order in
    /// which they were first heard of. A process that was silent for `patience` counts as a new one.
    ///
    /// Times are by the store's own clock, so that the clocks of the processes may differ. A process that
    /// seems to have said so more than `patience` in the future does not live: the store's clock was set
    /// back. Forgets those that do not live. MUST be one round trip and may be repeated. MUST NOT wait for
    /// another process that does the same.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn announce(
        &self,
        replica: &Replica,
        patience: Duration,
    ) -> Result<Vec<LiveReplica>, StoreError>;

    /// Forgets a process that ends.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn withdraw(&self, id: &ReplicaId) -> Result<(), StoreError>;
}
