//! The log of revocations, in memory.

use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    Revocation, RevocationCursor, Revoked, SessionEnd, SessionId, Timestamp,
};
use mintgate_domain::ports::{RevocationLog, RevocationPage, StoreError};

use super::MemoryStore;

#[derive(Debug)]
pub(super) struct LogState {
    /// Which log it is: how often a backup was restored.
    restores: u64,
    last: u64,
    lifetime: Duration,
    pub(super) events: Vec<(u64, Revocation)>,
}

impl Default for LogState {
    fn default() -> Self {
        let lifetime = Duration::from_hours(24);
        Self { restores: 0, last: 0, lifetime, events: Vec::new() }
    }
}

impl LogState {
    pub(super) fn add(&mut self, revoked: Revoked, at: Timestamp) {
        self.last += 1;
        self.events.push((self.last, Revocation { revoked, forget_after: at + self.lifetime }));
    }

    pub(super) fn session_ended(&mut self, session: SessionId, end: SessionEnd) {
        self.add(Revoked::Session(session), end.at);
    }

    pub(super) fn restored(&mut self, epoch: u64, at: Timestamp) {
        self.restores += 1;
        let before = Timestamp::from_unix(epoch.try_into().unwrap_or(i64::MAX));
        self.add(Revoked::IssuedBefore(before + Duration::from_secs(1)), at);
    }

    pub(super) fn rows(&self) -> [String; 2] {
        [
            format!("{} {} {:?}", self.restores, self.last, self.lifetime),
            format!("{:?}", self.events),
        ]
    }

    fn read(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: usize,
    ) -> Option<RevocationPage> {
        let log = format!("memory{}", self.restores);
        let mut behind = match after {
            None => 0,
            Some(after) => after.position_in(&log).filter(|position| *position <= self.last)?,
        };
        let later = self.events.iter().filter(|(position, _)| *position > behind);
        let later = later.filter(|(_, event)| event.forget_after > now);
        let page: Vec<_> = later.take(limit).copied().collect();
        if let Some((position, _)) = page.last() {
            behind = *position;
        }
        let more = page.len() >= limit;
        let events = page.into_iter().map(|(_, event)| event).collect();
        Some(RevocationPage { events, cursor: RevocationCursor::behind(&log, behind), more })
    }
}

#[async_trait]
impl RevocationLog for MemoryStore {
    async fn revocations(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Option<RevocationPage>, StoreError> {
        let limit = limit.try_into().expect("a small limit");
        self.with(|state| state.log.read(after, now, limit))
    }

    async fn keep_revocations_for(&self, lifetime: Duration) -> Result<(), StoreError> {
        self.with(|state| state.log.lifetime = state.log.lifetime.max(lifetime))
    }
}
