//! Noting what has happened.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{AuditEvent, ExternalIdentity};

/// Where use cases note what has happened. The adapter adds whose request it was
/// ([`Origin`](crate::Origin)).
///
/// Which method an act uses decides what happens while the audit log cannot be written:
///
/// - [`record`](Self::record) for what takes rights away and for what people do themselves: it goes on,
///   and the event is written as soon as that is possible.
/// - [`record_first`](Self::record_first) for what gives rights: it does not happen.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Takes an event that has happened, to be written soon. MUST return at once, and MUST keep a bounded
    /// number of events: what is lost is counted, and noted once the log can be written again.
    fn record(&self, event: AuditEvent);

    /// Writes an event that is about to happen, and returns when it is written durably. MUST give up within
    /// a few seconds, and the event MUST NOT be written after that.
    ///
    /// # Errors
    /// [`StoreError`]: it was not written, or that is unknown.
    async fn record_first(&self, event: AuditEvent) -> Result<(), StoreError>;

    /// Writes that a person was deleted, and erases what the log knows of that person: of entries about the
    /// user, and of entries about no user that name one of the identities. Goes on trying if that takes
    /// longer than a few seconds.
    ///
    /// # Errors
    /// [`StoreError`]: it has not happened yet.
    async fn forget(
        &self,
        deletion: AuditEvent,
        identities: Vec<ExternalIdentity>,
    ) -> Result<(), StoreError>;
}

/// An audit log that keeps nothing: for tests of something else.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAuditLog;

#[async_trait]
impl AuditLog for NoAuditLog {
    fn record(&self, _: AuditEvent) {}

    async fn record_first(&self, _: AuditEvent) -> Result<(), StoreError> {
        Ok(())
    }

    async fn forget(&self, _: AuditEvent, _: Vec<ExternalIdentity>) -> Result<(), StoreError> {
        Ok(())
    }
}
