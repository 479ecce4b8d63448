//! An audit log that remembers every event.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mintgate_domain::model::{AuditEvent, AuditKind, ExternalIdentity};
use mintgate_domain::ports::{AuditLog, StoreError};

/// An audit log that keeps every event in memory, in order.
#[derive(Debug, Default)]
pub struct RecordingAuditLog {
    events: Mutex<Vec<AuditEvent>>,
    forgotten: Mutex<Vec<ExternalIdentity>>,
    cannot_be_written: AtomicBool,
}

impl RecordingAuditLog {
    /// Every event so far, in order.
    pub fn events(&self) -> Vec<AuditEvent> {
        self.events.lock().unwrap().clone()
    }

    /// The kinds of the events so far, in order.
    pub fn kinds(&self) -> Vec<AuditKind> {
        self.events().into_iter().map(|event| event.kind).collect()
    }

    /// The identities that were to be forgotten.
    pub fn forgotten(&self) -> Vec<ExternalIdentity> {
        self.forgotten.lock().unwrap().clone()
    }

    /// From now on nothing can be written: events are taken, and nobody is told that they are written.
    pub fn set_unwritable(&self) {
        self.cannot_be_written.store(true, Ordering::SeqCst);
    }

    fn written(&self) -> Result<(), StoreError> {
        if self.cannot_be_written.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the audit log cannot be written".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl AuditLog for RecordingAuditLog {
    fn record(&self, event: AuditEvent) {
        self.events.lock().unwrap().push(event);
    }

    async fn record_first(&self, event: AuditEvent) -> Result<(), StoreError> {
        self.written()?;
        self.record(event);
        Ok(())
    }

    async fn forget(
        &self,
        deletion: AuditEvent,
        identities: Vec<ExternalIdentity>,
    ) -> Result<(), StoreError> {
        self.record(deletion);
        self.forgotten.lock().unwrap().extend(identities);
        self.written()
    }
}
