//! The background tasks of the audit log: one writes, one deletes what is old.

use std::sync::Arc;
use std::time::Duration;

use mintgate_audit::AuditTrail;

use super::{BackgroundTask, StopSignal};

/// The time between two looks at whether anything is old.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// The pause after a round that panicked: there is none else.
const RESUME_AFTER: Duration = Duration::from_millis(100);

/// Writes events as they come.
pub(crate) struct AuditWriter(pub(crate) Arc<AuditTrail>);

impl BackgroundTask for AuditWriter {
    const NAME: &'static str = "audit writer";

    async fn round(&mut self, stopping: &mut StopSignal) {
        self.0.write(stopping.comes()).await;
    }

    fn pause(&self) -> Duration {
        RESUME_AFTER
    }
}

/// Deletes old entries, and shows how large the log is.
pub(crate) struct AuditCare {
    pub(crate) trail: Arc<AuditTrail>,
    /// How old entries become.
    pub(crate) retention: Duration,
}

impl BackgroundTask for AuditCare {
    const NAME: &'static str = "audit care";

    async fn round(&mut self, stopping: &mut StopSignal) {
        tokio::select! {
            () = self.trail.care(self.retention) => {}
            () = stopping.comes() => {}
        }
    }

    fn pause(&self) -> Duration {
        LOOK_EVERY
    }
}
