//! What an operator does once a backup of the store was restored.

use super::{Administration, Outcome, changed};
use crate::model::{AuditEvent, AuditKind, RevokeReason, SessionEnd, Timestamp};

/// How many sessions one step looks at.
const STEP: u32 = 500;

/// What [`Administration::restore_done`] has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreDone {
    /// The time at which the sessions ended, which is the new restore epoch.
    pub at: Timestamp,
    /// How many sessions were live before.
    pub ended: u64,
    /// Whether the rows of all these sessions say so. If not, the store could not be asked to the end:
    /// the sessions have ended all the same, by the epoch, and `ended` is too small.
    pub is_counted: bool,
}

impl RestoreDone {
    /// The request id of the entry in the audit log about sessions that ended at `at`. The command has
    /// no request of its own, and entries are found by this id.
    pub(crate) fn request_id(at: Timestamp) -> String {
        format!("restore-{}", at.as_unix())
    }
}

impl Administration {
    /// Ends every session that was opened before, on every replica, because a backup was restored: it has
    /// brought back sessions that had ended. What else it has brought back, it does not know.
    ///
    /// # Errors
    /// [`AdministrationError::InDoubt`](super::AdministrationError::InDoubt),
    /// [`AdministrationError::Store`](super::AdministrationError::Store).
    pub async fn restore_done(&self) -> Outcome<RestoreDone> {
        let now = self.now();
        let epoch = changed(self.sessions.users.raise_restore_epoch(now).await)?;
        let at = epoch.try_into().map_or(now, Timestamp::from_unix);
        let end = SessionEnd { at, reason: RevokeReason::Restored };
        let (mut done, mut after) = (RestoreDone { at, ended: 0, is_counted: false }, None);
        while let Ok(step) = self.sessions.repo.end_restored(epoch, after, STEP, end).await {
            (done.ended, after) = (done.ended + step.ended, step.next);
            if after.is_none() {
                done.is_counted = true;
                break;
            }
        }
        self.metrics.sessions_revoked(RevokeReason::Restored, done.ended);
        let event = AuditEvent::new(AuditKind::StoreRestored, at, self.actor.clone());
        let request_id = Some(RestoreDone::request_id(at));
        self.audit.record(AuditEvent { request_id, ..event.with("sessions_ended", done.ended) });
        Ok(done)
    }
}
