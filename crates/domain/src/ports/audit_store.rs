//! Where the audit log is kept.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    AuditEntry, AuditExtent, AuditHead, AuditQuery, ExternalIdentity, Timestamp, UserId,
};

/// Whose personal data are to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The user, of whom all entries are erased.
    pub user: UserId,
    /// The user's identities: entries about no user that name one of them are erased too, up to
    /// `through`.
    pub identities: Vec<ExternalIdentity>,
    /// The sequence number of the last entry that is looked at for identities.
    pub through: u64,
}

/// Keeps the entries of the audit log, which are only added, erased and deleted from the beginning.
///
/// Every method returns [`StoreError::Unavailable`] when the store cannot be asked, or did not say
/// whether the call took effect.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// The end of the log.
    async fn audit_head(&self) -> Result<AuditHead, StoreError>;

    /// Adds entries behind `after`, which `head` comes of; carries the erasure out, if there is one, in the
    /// same step. `false`, and nothing is done, if the log does not end with `after` any more.
    ///
    /// Of several callers with the same `after` exactly one MUST get `true`. A caller that stops in the
    /// middle MUST NOT keep others waiting. Repeating a call that took effect MUST be `false`. An entry about
    /// a user who does not exist is stored erased, where users are kept in the same engine.
    async fn append_audit(
        &self,
        after: &AuditHead,
        entries: &[AuditEntry],
        head: &AuditHead,
        erasure: Option<&Erasure>,
    ) -> Result<bool, StoreError>;

    /// The entries behind the sequence number `after`, in order, at most `limit`.
    async fn audit_entries(
        &self,
        query: &AuditQuery,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// How large the log is. MUST take no longer for a large one.
    async fn audit_extent(&self) -> Result<AuditExtent, StoreError>;

    /// The last entry that is older than `before` and has none before it that is not, but at most `limit`
    /// entries from the beginning.
    async fn last_old_audit_entry(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Option<AuditEntry>, StoreError>;

    /// Deletes the entries up to the sequence number `through`, the oldest first, at most `limit`; how many.
    async fn prune_audit(&self, through: u64, limit: u32) -> Result<u64, StoreError>;

    /// Remembers what the configuration was at the last start, and returns what it was at the one before.
    async fn swap_audit_configuration(&self, now: &str) -> Result<Option<String>, StoreError>;
}
