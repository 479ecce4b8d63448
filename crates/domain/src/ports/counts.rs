//! What a process has counted, for people who look at it.

use std::collections::BTreeMap;

use super::{AuditState, CircuitState};

/// Numbers since the start of the process, and gauges as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests for tokens by provider and outcome: `success`, or an error code in small letters. The
    /// provider is `unknown` where the request named none that is configured.
    pub sign_ins: BTreeMap<(String, String), u64>,
    /// How many refreshes had each outcome since the start.
    pub refreshes: BTreeMap<String, u64>,
    /// The circuit breaker of each configured provider.
    pub circuits: BTreeMap<String, CircuitState>,
    /// The audit log, as of a minute ago.
    pub audit: AuditState,
    /// Events that wait to be written to the audit log.
    pub audit_queued: u64,
    /// Events that were lost to the audit log.
    pub audit_dropped: u64,
}

/// Reads what [`Metrics`](super::Metrics) has counted. It MUST answer at once.
pub trait CountReader: Send + Sync {
    /// The numbers at this moment. Every outcome of refreshes and every configured provider MUST be in
    /// them, with 0 where nothing has happened.
    fn counts(&self) -> Counts;
}
