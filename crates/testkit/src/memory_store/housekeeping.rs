//! The sweep.

use std::ops::Bound;

use async_trait::async_trait;
use mintgate_domain::model::{KeyId, Timestamp};
use mintgate_domain::ports::{Housekeeping, StoreError, SweepStep, Swept};

use super::{MemoryStore, State};

impl State {
    fn sweep(&mut self, step: &SweepStep) -> Swept {
        let mut swept = Swept::default();
        let limit = usize::try_from(step.limit).expect("a small limit");
        let begin = step.after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.sessions.range_mut((begin, Bound::Unbounded));
        let (mut looked_at, mut ended, mut deleted) = (vec![], vec![], vec![]);
        for (id, session) in range.take(limit) {
            looked_at.push(*id);
            if session.expire(step.now, &mut swept) {
                ended.push(*id);
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
        }
        for id in ended {
            self.upstream.remove(&id);
        }
        let now = step.now;
        self.single_use.extract_if(|_, until| *until <= now).take(limit).for_each(drop);
        self.openings.extract_if(|_, (it, _)| it.expires_at <= now).take(limit).for_each(drop);
        self.reservations.extract_if(|_, it| it.until <= now).take(limit).for_each(drop);
        self.deleted.extract_if(.., |_, it| it.forget_after <= now).take(limit).for_each(drop);
        let forgotten = self.log.events.extract_if(.., |(_, it)| it.forget_after <= now);
        forgotten.take(limit).for_each(drop);
        swept
    }
}

#[async_trait]
impl Housekeeping for MemoryStore {
    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        self.with(|state| state.sweep(step))
    }

    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.with(|state| {
            let mut live = state.sessions.values().filter(|session| session.is_live(now));
            live.any(|session| session.refresh.key_id == *id)
        })
    }
}
