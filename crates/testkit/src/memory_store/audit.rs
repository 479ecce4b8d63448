//! The audit log, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mintgate_domain::model::{AuditEntry, AuditExtent, AuditHead, AuditQuery, Timestamp};
use mintgate_domain::ports::{AuditStore, Erasure, StoreError};

use super::MemoryStore;

/// The entries, their head, and what else is kept with them.
#[derive(Debug, Default)]
pub(super) struct AuditState {
    entries: BTreeMap<u64, AuditEntry>,
    head: AuditHead,
    configuration: Option<String>,
}

impl AuditState {
    /// The entries and the rest, as a dump shows them.
    pub(super) fn rows(&self) -> (Vec<String>, String) {
        let entries = self.entries.values().map(|entry| format!("{entry:?}")).collect();
        (entries, format!("{:?} {:?}", self.head, self.configuration))
    }
}

fn is_wanted(query: &AuditQuery, entry: &AuditEntry) -> bool {
    let event = &entry.event;
    match query {
        AuditQuery::All => true,
        AuditQuery::OfUser(id) => event.user == Some(*id),
        AuditQuery::OfSession(id) => event.session == Some(*id),
        AuditQuery::OfRequest(id) => event.request_id.as_ref() == Some(id),
        AuditQuery::OfIdentity(identity) => {
            event.user.is_none()
                && event.issuer.as_ref() == Some(&identity.issuer)
                && event.personal.subject.as_ref() == Some(&identity.subject)
        }
    }
}

#[async_trait]
impl AuditStore for MemoryStore {
    async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        self.with(|state| state.audit.head)
    }

    async fn append_audit(
        &self,
        after: &AuditHead,
        entries: &[AuditEntry],
        head: &AuditHead,
        erasure: Option<&Erasure>,
    ) -> Result<bool, StoreError> {
        self.with(|state| {
            if state.audit.head != *after {
                return false;
            }
            state.audit.head = *head;
            for entry in entries {
                let mut entry = entry.clone();
                let is_gone = |id| !state.has_no_users && !state.users.contains_key(&id);
                if entry.event.user.is_some_and(is_gone) {
                    entry.erase();
                }
                state.audit.entries.insert(entry.sequence, entry);
            }
            let Some(Erasure { user, identities, through }) = erasure else { return true };
            for entry in state.audit.entries.values_mut() {
                let is_theirs = |identity: &_| {
                    is_wanted(&AuditQuery::OfIdentity(Clone::clone(identity)), entry)
                };
                let is_old = entry.sequence <= *through;
                if entry.event.user == Some(*user) || is_old && identities.iter().any(is_theirs) {
                    entry.erase();
                }
            }
            true
        })
    }

    async fn audit_entries(
        &self,
        query: &AuditQuery,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.with(|state| {
            let behind = state.audit.entries.range(after + 1..).map(|(_, entry)| entry);
            let wanted = behind.filter(|entry| is_wanted(query, entry));
            wanted.take(limit.try_into().expect("a small limit")).cloned().collect()
        })
    }

    async fn audit_extent(&self) -> Result<AuditExtent, StoreError> {
        self.with(|state| {
            let first = state.audit.entries.first_key_value();
            let oldest = first.map(|(sequence, entry)| (*sequence, entry.event.at));
            AuditExtent { oldest, last: state.audit.head.sequence }
        })
    }

    async fn last_old_audit_entry(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Option<AuditEntry>, StoreError> {
        self.with(|state| {
            let oldest =
                state.audit.entries.values().take(limit.try_into().expect("a small limit"));
            oldest.take_while(|entry| entry.event.at < before).last().cloned()
        })
    }

    async fn prune_audit(&self, through: u64, limit: u32) -> Result<u64, StoreError> {
        self.with(|state| {
            let mut gone = 0;
            while gone < u64::from(limit)
                && let Some(first) = state.audit.entries.first_entry()
                && *first.key() <= through
            {
                first.remove();
                gone += 1;
            }
            gone
        })
    }

    async fn swap_audit_configuration(&self, now: &str) -> Result<Option<String>, StoreError> {
        self.with(|state| state.audit.configuration.replace(now.to_owned()))
    }
}
