//! Sessions in one engine and users in another, used as one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{KeyId, RevocationCursor, SessionId, Timestamp};
use crate::ports::{Housekeeping, RevocationLog, RevocationPage, StoreError, SweepStep, Swept};

/// The logs of revocations of two engines, the sessions' first, read as one. Its cursors name a place in each.
pub struct JoinedLog(pub [Arc<dyn RevocationLog>; 2]);

impl JoinedLog {
    /// Stands between the two places, and for the beginning of a log where there is none.
    const BETWEEN: char = '~';

    /// The places in both logs; `None` if the cursor names another number of places.
    fn places(after: Option<&RevocationCursor>) -> Option<[Option<RevocationCursor>; 2]> {
        let Some(after) = after else { return Some([None, None]) };
        let (first, second) = after.as_str().split_once(Self::BETWEEN)?;
        Some([RevocationCursor::parse(first), RevocationCursor::parse(second)])
    }
}

#[async_trait]
impl RevocationLog for JoinedLog {
    async fn revocations(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Option<RevocationPage>, StoreError> {
        let Some(places) = Self::places(after) else { return Ok(None) };
        let (mut events, mut more, mut cursors) = (Vec::new(), false, Vec::new());
        for (log, place) in self.0.iter().zip(&places) {
            let left = limit.saturating_sub(u32::try_from(events.len()).unwrap_or(u32::MAX));
            let Some(page) = log.revocations(place.as_ref(), now, left).await? else {
                return Ok(None);
            };
            events.extend(page.events);
            more |= page.more;
            cursors.push(page.cursor.to_string());
        }
        let cursor = RevocationCursor::parse(&cursors.join(&Self::BETWEEN.to_string()));
        let too_long = || StoreError::Corrupt("the place in two logs is too long".into());
        Ok(Some(RevocationPage { events, cursor: cursor.ok_or_else(too_long)?, more }))
    }

    async fn keep_revocations_for(&self, lifetime: Duration) -> Result<(), StoreError> {
        for log in &self.0 {
            log.keep_revocations_for(lifetime).await?;
        }
        Ok(())
    }
}

/// The clean-up of two engines, as one.
pub struct JoinedHousekeeping(pub [Arc<dyn Housekeeping>; 2]);

#[async_trait]
impl Housekeeping for JoinedHousekeeping {
    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        let mut joined = Swept::default();
        let mut places: Vec<SessionId> = Vec::new();
        for one in &self.0 {
            let swept = one.sweep(step).await?;
            places.extend(swept.next);
            joined.expired_idle += swept.expired_idle;
            joined.expired_absolute += swept.expired_absolute;
            joined.deleted += swept.deleted;
        }
        // What lies behind the nearer place has not been looked at in one of them.
        joined.next = places.into_iter().min();
        Ok(joined)
    }

    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        for one in &self.0 {
            if one.refresh_key_in_use(id, now).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
