//! What a store forgets in time.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{KeyId, SessionId, Timestamp};

/// One bounded step through the sessions, in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepStep {
    /// Begins behind this session; at the beginning if `None`.
    pub after: Option<SessionId>,
    /// Looks at this many sessions at most, and deletes at most this many rows of any other table.
    pub limit: u32,
    /// The time that limits and expiries are compared with.
    pub now: Timestamp,
    /// How long an ended session is kept, so that its end can be explained.
    pub keep_ended: Duration,
}

/// The result of a [`SweepStep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// The session after which the next step begins; `None` if this was the last step.
    pub next: Option<SessionId>,
    /// Sessions found past their idle limit, and marked as ended.
    pub expired_idle: u64,
    /// Sessions found past their absolute limit, and marked as ended.
    pub expired_absolute: u64,
    /// Sessions deleted, their time to be told about being over.
    pub deleted: u64,
}

/// Clean-up. Nothing depends on it but the size of the store: whatever has expired does not work,
/// swept or not.
#[async_trait]
pub trait Housekeeping: Send + Sync {
    /// Marks sessions that have run out as ended (`expired_idle`, or `expired_absolute` where that
    /// limit is reached) at the moment they did, deletes those that ended longer than `keep_ended`
    /// ago, the providers' refresh tokens of those that have ended, and the single-use marks, the
    /// idempotency records and the entries of the log of revocations that have expired.
    ///
    /// MUST be bounded, and MUST NOT wait for a session that is in use, nor have one wait for it
    /// longer than for a write of its own.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError>;

    /// Whether the current refresh token of any session that is live at `now` is signed with this key.
    /// Asked about a key that is about to be removed, so it may read the whole table.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError>;

    /// Looks at the file into which the store writes commits first, tells its size
    /// ([`Metrics::store_log`](super::Metrics::store_log)), and shortens it if it is too long and nobody reads from it. A store
    /// that has no such file of its own does nothing.
    ///
    /// MUST NOT keep a write waiting for longer than a write of its own.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn shorten_log(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
