//! Deleting old entries: by one process at a time, in small steps.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mintgate_domain::model::{Actor, AuditEvent, AuditKind, Timestamp};
use mintgate_domain::ports::{AuditState, Duty, StoreError};

use crate::trail::{AuditTrail, AuditTrailPorts};

/// The time between two rounds, whichever process does them.
const EVERY: Duration = Duration::from_hours(1);
/// For how long no other process deletes if this one dies in the middle of a round.
const LEASE: Duration = Duration::from_mins(5);
/// The longest round, well below the lease; the next one goes on where it stopped.
const MAX_ROUND: Duration = Duration::from_mins(4);
/// How many entries one entry in the log announces as deleted.
const ANNOUNCED: u32 = 10_000;
/// How many entries are deleted at once.
const STEP: u32 = 500;
/// The pause between two steps, so that requests always come first.
const PAUSE: Duration = Duration::from_millis(50);

impl AuditTrail {
    /// A round of [`tend`](Self::tend). The log has a line when rounds begin to fail, and one when they
    /// succeed again.
    pub async fn care(&self, retention: Duration) {
        let tended = self.tend(retention).await;
        let was_failing = self.untended.swap(tended.is_err(), Ordering::Relaxed);
        match tended {
            Err(error) if !was_failing => {
                let error = mintgate_domain::chain(&error);
                tracing::warn!(%error, "the audit log cannot be looked after at present");
            }
            Ok(()) if was_failing => tracing::info!("the audit log can be looked after again"),
            _ => {}
        }
    }

    /// Deletes what is older than `retention`, if that is due and no other process does it; shows how large
    /// the log is, and names its end.
    ///
    /// # Errors
    /// [`StoreError`]; the next round goes on.
    pub async fn tend(&self, retention: Duration) -> Result<(), StoreError> {
        let AuditTrailPorts { store, duties, .. } = &self.ports;
        if duties.claim_duty(Duty::AuditPruning, self.now(), LEASE, EVERY).await? {
            self.prune(retention).await?;
            // Not after an error: it says when old entries were last deleted with success.
            duties.end_duty(Duty::AuditPruning, self.now()).await?;
        }
        let extent = store.audit_extent().await?;
        self.ports.metrics.audit_state(AuditState {
            entries: extent.entries(),
            oldest: extent.oldest.map(|(_, at)| at),
            pruned_at: duties.duty_ended_at(Duty::AuditPruning).await?,
        });
        self.name_head().await
    }

    async fn prune(&self, retention: Duration) -> Result<(), StoreError> {
        let store = &self.ports.store;
        let started = self.ports.clock.monotonic();
        let mut gone = 0;
        loop {
            let before = self.now() - retention;
            let Some(last) = store.last_old_audit_entry(before, ANNOUNCED).await? else { break };
            if self.announced().await? < last.sequence {
                let event = AuditEvent::new(AuditKind::EntriesPruned, self.now(), Actor::Service);
                self.written(event.announcing_pruning(&last)).await?;
            }
            loop {
                let step = store.prune_audit(last.sequence, STEP).await?;
                gone += step;
                let took = self.ports.clock.monotonic().saturating_sub(started);
                if took >= MAX_ROUND {
                    tracing::info!(gone, "old audit entries were deleted; the next round goes on");
                    return Ok(());
                }
                if step < u64::from(STEP) {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        if gone > 0 {
            tracing::info!(gone, "old audit entries were deleted");
        }
        Ok(())
    }

    /// The last entry that the log says is deleted; 0 if there is none.
    async fn announced(&self) -> Result<u64, StoreError> {
        let store = &self.ports.store;
        let pruning = store.audit_head().await?.pruning;
        if pruning == 0 {
            return Ok(0);
        }
        let query = mintgate_domain::model::AuditQuery::All;
        let entries = store.audit_entries(&query, pruning - 1, 1).await?;
        let entry = entries.first().filter(|entry| entry.sequence == pruning);
        Ok(entry.and_then(|entry| entry.event.pruned_through()).unwrap_or(0))
    }

    fn now(&self) -> Timestamp {
        self.ports.clock.now().into()
    }
}
