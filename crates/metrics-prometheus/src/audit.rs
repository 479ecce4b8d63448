//! The series about the audit log.

use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::AuditState;
use prometheus::{IntCounter, IntGauge, Registry};

use crate::register;

/// How large and how old the audit log is, and what waits to be written.
pub(crate) struct AuditSeries {
    pub(crate) entries: IntGauge,
    pub(crate) oldest: IntGauge,
    pub(crate) pruned: IntGauge,
    pub(crate) queued: IntGauge,
    pub(crate) dropped: IntCounter,
}

impl AuditSeries {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        Ok(Self {
            entries: gauge(
                "mintgate_audit_entries",
                "Entries of the audit log, as of a minute ago.",
            )?,
            oldest: gauge(
                "mintgate_audit_oldest_timestamp_seconds",
                "When the oldest entry of the audit log was noted; 0 if there is none.",
            )?,
            pruned: gauge(
                "mintgate_audit_last_pruned_timestamp_seconds",
                "When old entries of the audit log were last deleted with success, whichever process did \
                 it; 0 if never.",
            )?,
            queued: gauge(
                "mintgate_audit_queued_events",
                "Events that wait to be written to the audit log.",
            )?,
            dropped: register(
                registry,
                IntCounter::new(
                    "mintgate_audit_dropped_events_total",
                    "Events that were lost to the audit log, because too many waited.",
                )?,
            )?,
        })
    }

    pub(crate) fn show(&self, state: AuditState) {
        let seconds = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_unix);
        self.entries.set(state.entries.try_into().unwrap_or(i64::MAX));
        self.oldest.set(seconds(state.oldest));
        self.pruned.set(seconds(state.pruned_at));
    }
}
