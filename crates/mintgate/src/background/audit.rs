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
    trail: Arc<AuditTrail>,
    retention: Duration,
    failing: bool,
}

impl AuditCare {
    /// Deletes what is older than `retention`.
    pub(crate) fn new(trail: Arc<AuditTrail>, retention: Duration) -> Self {
        Self { trail, retention, failing: false }
    }
}

impl BackgroundTask for AuditCare {
    const NAME: &'static str = "audit care";

    async fn round(&mut self, stopping: &mut StopSignal) {
        let tended = tokio::select! {
            tended = self.trail.tend(self.retention) => tended,
            () = stopping.comes() => return,
        };
        match &tended {
            Err(error) if !self.failing => {
                tracing::warn!(error = %mintgate_domain::chain(error), "the audit log cannot be looked after at present");
            }
            Ok(()) if self.failing => tracing::info!("the audit log can be looked after again"),
            _ => {}
        }
        self.failing = tended.is_err();
    }

    fn pause(&self) -> Duration {
        LOOK_EVERY
    }
}
