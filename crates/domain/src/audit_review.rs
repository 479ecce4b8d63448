//! The use case: operators read the audit log, and find out whether it is as it was written.

use std::sync::Arc;

use crate::model::{
    AuditEntry, AuditExtent, AuditFault, AuditHead, AuditKeys, AuditQuery, ChainReader,
    ExportedHead,
};
use crate::ports::{AuditStore, StoreError};

/// How many entries are read at once.
const PAGE: u32 = 500;
/// How often a check begins again because old entries were deleted meanwhile.
const ATTEMPTS: u32 = 5;

/// Reads the audit log.
#[derive(Clone)]
pub struct AuditReview {
    /// Where the log is kept.
    pub store: Arc<dyn AuditStore>,
    /// The keys that the entries are proven with.
    pub keys: AuditKeys,
}

/// What a check of the audit log has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerdict {
    /// The end of the log, as the store keeps it: to be kept elsewhere, if the log is as it was written.
    pub head: ExportedHead,
    /// How many entries were read.
    pub read: u64,
    /// The first entry that was read: those before it were deleted because they were old.
    pub from: u64,
    /// Whether the proofs are made with a key at all.
    pub is_keyed: bool,
    /// What is wrong; `None` if the log is as it was written.
    pub fault: Option<AuditFault>,
}

impl AuditReview {
    /// Checks the whole log, also against ends that were exported before. Reads page by page while others go
    /// on writing.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be read to its end.
    pub async fn verify(&self, exported: &[ExportedHead]) -> Result<AuditVerdict, StoreError> {
        let mut attempts = 1;
        loop {
            let head = self.store.audit_head().await?;
            let verdict = self.verify_once(head, exported).await?;
            // Entries that are deleted while they are read look as if they were missing.
            let has_moved = self.store.audit_head().await?.pruning != head.pruning;
            if verdict.fault.is_none() || !has_moved || attempts == ATTEMPTS {
                return Ok(verdict);
            }
            attempts += 1;
        }
    }

    async fn verify_once(
        &self,
        head: AuditHead,
        exported: &[ExportedHead],
    ) -> Result<AuditVerdict, StoreError> {
        let pruning = match head.pruning.checked_sub(1) {
            None => None,
            Some(before) => self.page(&AuditQuery::All, before, 1).await?.pop(),
        };
        let mut verdict = AuditVerdict {
            head: ExportedHead::from(&head),
            read: 0,
            from: 1,
            is_keyed: self.keys.is_keyed(),
            fault: None,
        };
        let mut reader = match ChainReader::begin(&self.keys, head, exported, pruning.as_ref()) {
            Ok(reader) => reader,
            Err(fault) => return Ok(AuditVerdict { fault: Some(fault), ..verdict }),
        };
        verdict.from = reader.position() + 1;
        while reader.position() < head.sequence {
            let page = self.page(&AuditQuery::All, reader.position(), PAGE).await?;
            if page.is_empty() {
                break;
            }
            for entry in page.iter().take_while(|entry| entry.sequence <= head.sequence) {
                if let Err(fault) = reader.read(entry) {
                    return Ok(AuditVerdict { fault: Some(fault), ..verdict });
                }
                verdict.read += 1;
            }
            if page.last().is_some_and(|entry| entry.sequence > head.sequence) {
                break;
            }
        }
        verdict.fault = reader.end().err();
        Ok(verdict)
    }

    /// The entries behind a sequence number, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn page(
        &self,
        query: &AuditQuery,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.store.audit_entries(query, after, limit).await
    }

    /// The end of the log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn head(&self) -> Result<ExportedHead, StoreError> {
        Ok(ExportedHead::from(&self.store.audit_head().await?))
    }

    /// How large the log is.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn extent(&self) -> Result<AuditExtent, StoreError> {
        self.store.audit_extent().await
    }
}
