//! What the limits of other processes have counted.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{CountReport, ReplicaId};

/// Passes on what limits have counted between the processes that share a store.
///
/// Nothing but the limits depends on it: an adapter may lose reports, at a crash for example, but MUST NOT
/// make any up. No caller of Mintgate waits for it.
#[async_trait]
pub trait SharedCounts: Send + Sync {
    /// Passes a report on, unless it has no counts, and answers with those of other processes of the last
    /// minute that the caller has not had: `known` has the highest number that it knows of each process. To
    /// the age of each count the adapter MUST add how long ago its report came.
    ///
    /// Reports of one process come in the order of their numbers. A long answer may be cut: the rest
    /// MUST come next time. A report that is passed on again MUST change nothing.
    ///
    /// MUST be one round trip, MUST NOT wait for another process that does the same, and MUST forget reports
    /// after two minutes. Times are by the store's own clock; reports from the future are of a clock that was
    /// set back, and MUST be forgotten in the same way.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; then the report may or may not have been passed on.
    async fn exchange(
        &self,
        report: &CountReport,
        known: &[(ReplicaId, u64)],
    ) -> Result<Vec<CountReport>, StoreError>;
}
