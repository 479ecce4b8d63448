//! The log of what other services must refuse.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Revocation, RevocationCursor, Timestamp};

/// A part of the log of revocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationPage {
    /// What was logged, in the order of the log.
    pub events: Vec<Revocation>,
    /// The place behind them.
    pub cursor: RevocationCursor,
    /// Whether more is known to follow.
    pub more: bool,
}

/// The log of sessions and users whose access tokens must be refused before they expire.
///
/// Whatever ends a session but its own limits, raises the session epoch of a user, deletes a user or raises
/// the restore epoch MUST be logged in the same atomic step, once for all who read. Each engine logs what is
/// stored in it: the sessions' store the sessions that it ends, the users' store the epochs that it raises.
/// An identity's epoch is not logged, because it ends sessions that are logged one by one.
///
/// The order is that in which readers could first see the entries. What is written by a transaction that
/// commits late MUST be behind everything that has been read before.
///
/// Every method returns [`StoreError::Unavailable`] when the store cannot be asked.
#[async_trait]
pub trait RevocationLog: Send + Sync {
    /// What was logged behind `after` and is not to be forgotten by `now`, at most `limit` entries; from the
    /// beginning if there is no `after`, which gives everything that still matters. What the clean-up has
    /// deleted does not matter any more, so a cursor never becomes too old.
    ///
    /// `None` if the log has no such place: the cursor is another log's, or of a time that a restored backup
    /// has undone. Every cursor from before the restore epoch was raised is one of another log.
    async fn revocations(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Option<RevocationPage>, StoreError>;

    /// Says that this process issues access tokens which may be accepted for `lifetime` after an end: what is
    /// logged from now on is kept so long. A process that said a longer time is believed until it has said
    /// nothing for that time, so each says it again and again, at intervals below `lifetime`.
    async fn keep_revocations_for(&self, lifetime: Duration) -> Result<(), StoreError>;
}
