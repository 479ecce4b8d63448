//! The sweep.

use std::collections::HashMap;
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{KeyId, RevokeReason, SessionId, Timestamp};
use mintgate_domain::ports::{Housekeeping, StoreError, SweepStep, Swept};

use super::{Duty, MemoryStore, State};

impl State {
    fn sweep(&mut self, step: &SweepStep) -> Swept {
        let mut swept = Swept::default();
        let limit = usize::try_from(step.limit).expect("a small limit");
        let begin = step.after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.sessions.range_mut((begin, Bound::Unbounded));
        let mut looked_at = Vec::new();
        let mut deleted = Vec::new();
        for (id, session) in range.take(limit) {
            looked_at.push(*id);
            if let Some(end) = session.expiry(step.now) {
                match end.reason {
                    RevokeReason::ExpiredAbsolute => swept.expired_absolute += 1,
                    _ => swept.expired_idle += 1,
                }
                session.end = Some(end);
            }
            if session.end.is_some_and(|end| end.at + step.keep_ended < step.now) {
                deleted.push(*id);
            }
        }
        if looked_at.len() == limit {
            swept.next = looked_at.last().copied();
        }
        swept.deleted = deleted.len().try_into().expect("a small number");
        for id in deleted {
            self.sessions.remove(&id);
            self.openings.retain(|_, (_, session)| *session != id);
            self.upstream.remove(&id);
        }
        let ended = looked_at.iter().filter(|id| self.is_ended(**id)).copied().collect::<Vec<_>>();
        for id in ended {
            self.upstream.remove(&id);
        }
        forget(&mut self.single_use, limit, |expires_at| *expires_at <= step.now);
        forget(&mut self.openings, limit, |(record, _)| record.expires_at <= step.now);
        forget(&mut self.reservations, limit, |(.., until)| *until <= step.now);
        let over = self.deleted.iter().filter(|(_, deleted)| deleted.forget_after <= step.now);
        for id in over.map(|(id, _)| *id).take(limit).collect::<Vec<_>>() {
            self.deleted.remove(&id);
        }
        swept
    }

    fn is_ended(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.end.is_some())
    }
}

/// Removes at most `limit` rows.
fn forget<T>(rows: &mut HashMap<TokenHash, T>, limit: usize, is_over: impl Fn(&T) -> bool) {
    let over = rows.iter().filter(|(_, row)| is_over(row)).map(|(hash, _)| *hash);
    for hash in over.take(limit).collect::<Vec<_>>() {
        rows.remove(&hash);
    }
}

#[async_trait]
impl Housekeeping for MemoryStore {
    async fn claim_sweep(
        &self,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        self.with(|State { sweep, .. }| {
            let is_held = sweep.held_until.is_some_and(|until| now < until);
            let was_done = sweep.ended_at.is_some_and(|at| now < at + every);
            let claims = !is_held && !was_done;
            if claims {
                sweep.held_until = Some(now + lease);
            }
            claims
        })
    }

    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        self.with(|state| state.sweep(step))
    }

    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.with(|state| {
            let mut live = state.sessions.values().filter(|session| session.is_live(now));
            live.any(|session| session.refresh.key_id == *id)
        })
    }

    async fn end_sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        self.with(|state| state.sweep = Duty { held_until: None, ended_at: Some(now) })
    }
}
