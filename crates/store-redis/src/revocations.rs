//! The log of revocations: the sessions that were ended here.
//!
//! The log has a slot of its own, so that an end and its entry are two steps. The session says until the second
//! one that its end is to be logged; an end is not acknowledged before it is, and a sweep logs what a crash left.

use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{Revocation, RevocationCursor, Revoked, SessionId, Timestamp};
use mintgate_domain::ports::{RevocationLog, RevocationPage, StoreError, StoreOperation};

use crate::error::corrupt;
use crate::row::{Change, field};
use crate::store::RedisStore;
use crate::{keys, scripts};

/// The identity of the log, its last position, and entries: an id, a position, and when it is forgotten.
type LogPart = (String, u64, Vec<(String, u64, i64)>);

impl RedisStore {
    /// Logs the end of a session, once.
    pub(crate) async fn log_end(&self, id: SessionId) -> Result<(), StoreError> {
        self.run_and_wait::<()>(scripts::LOG_END, &keys::LOG, &[id.to_string()]).await?;
        self.change(id, &Change::default().delete(field::UNLOGGED)).await.map(drop)
    }

    async fn read_log(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Option<RevocationPage>, StoreError> {
        // The position of a cursor is known only with the identity of the log, so the cursor's own is tried.
        let position = after.and_then(|after| after.as_str().rsplit_once('.'));
        let behind = position.map_or(Some(0), |(_, position)| position.parse().ok());
        let Some(mut behind): Option<u64> = behind else { return Ok(None) };
        let arguments = [behind.to_string(), limit.to_string()];
        let (log, last, entries): LogPart =
            self.run(scripts::READ_LOG, &keys::LOG, &arguments).await?;
        if let Some(after) = after
            && after.position_in(&log).is_none_or(|position| position > last)
        {
            return Ok(None);
        }
        let more = entries.len() as u64 >= u64::from(limit);
        let mut events = Vec::with_capacity(entries.len());
        for (id, position, forget_after) in entries {
            let id = SessionId::parse(&id).ok_or_else(|| corrupt("an entry of the log"))?;
            let forget_after = Timestamp::from_unix(forget_after);
            behind = position;
            if forget_after > now {
                events.push(Revocation { revoked: Revoked::Session(id), forget_after });
            }
        }
        Ok(Some(RevocationPage { events, cursor: RevocationCursor::behind(&log, behind), more }))
    }
}

#[async_trait]
impl RevocationLog for RedisStore {
    async fn revocations(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Option<RevocationPage>, StoreError> {
        self.observed(StoreOperation::Revocations, self.read_log(after, now, limit)).await
    }

    async fn keep_revocations_for(&self, lifetime: Duration) -> Result<(), StoreError> {
        let arguments = [lifetime.as_secs().to_string()];
        let keeping = self.run(scripts::KEEP_LOG, &keys::LOG, &arguments);
        self.observed(StoreOperation::Revocations, keeping).await
    }
}
