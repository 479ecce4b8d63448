//! The sweep. Marks, idempotency keys and what is known of deleted sessions go by themselves.

use async_trait::async_trait;
use mintgate_domain::model::{KeyId, Session, Timestamp};
use mintgate_domain::ports::{Housekeeping, StoreError, StoreOperation, SweepStep, Swept};

use crate::row::{Change, Stored, field};
use crate::store::RedisStore;
use crate::{keys, scripts};

/// How many sessions are looked at together when all are.
const PAGE: u32 = 500;

impl RedisStore {
    async fn sweep_step(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        let ids = self.next_ids(step.after, step.limit).await?;
        let next = ids.last().copied().filter(|_| ids.len() as u64 == u64::from(step.limit));
        let mut swept = Swept { next, ..Swept::default() };
        for stored in self.found(keys::ids_with, &ids).await? {
            self.sweep_one(stored, step, &mut swept).await?;
        }
        let arguments = [step.now.as_unix().to_string(), step.limit.to_string()];
        self.run::<()>(scripts::FORGET_LOG, &keys::LOG, &arguments).await?;
        Ok(swept)
    }

    async fn sweep_one(
        &self,
        stored: Stored,
        step: &SweepStep,
        swept: &mut Swept,
    ) -> Result<(), StoreError> {
        let mut session: Session = stored.session.clone();
        if stored.is_unlogged {
            self.log_end(session.id).await?;
        }
        let mut counted = *swept;
        if let Some(end) = session.expiry(step.now) {
            let (id, seen) = (session.id, &session);
            let expired = |it: &Session| it.is_unchanged_since(seen).then_some(end);
            if !self.end_if(id, false, expired).await? {
                return Ok(());
            }
        }
        if !session.expire(step.now, &mut counted) {
            return Ok(());
        }
        *swept = counted;
        if session.end.is_some_and(|end| end.at + step.keep_ended < step.now) {
            self.forget(&stored).await?;
            swept.deleted += 1;
        } else if stored.upstream.is_some() {
            self.change(session.id, &Change::default().delete(field::UPSTREAM)).await?;
        }
        Ok(())
    }

    async fn needs_key(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            let ids = self.next_ids(after, PAGE).await?;
            let found = self.found(keys::ids_with, &ids).await?;
            let needs = |stored: &Stored| {
                stored.session.is_live(now) && stored.session.refresh.key_id == *id
            };
            if found.iter().any(needs) {
                return Ok(true);
            }
            after = ids.last().copied();
            if after.is_none() {
                return Ok(false);
            }
        }
    }
}

#[async_trait]
impl Housekeeping for RedisStore {
    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        self.observed(StoreOperation::Sweep, Box::pin(self.sweep_step(step))).await
    }

    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.observed(StoreOperation::Sweep, self.needs_key(id, now)).await
    }
}
