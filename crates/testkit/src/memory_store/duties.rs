//! Duties.

use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{DutyRecord, Timestamp};
use mintgate_domain::ports::{Duties, Duty, StoreError};

use super::MemoryStore;

#[async_trait]
impl Duties for MemoryStore {
    async fn claim_duty(
        &self,
        duty: Duty,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        self.with(|state| state.duties.entry(duty).or_default().claim(now, lease, every))
    }

    async fn end_duty(&self, duty: Duty, now: Timestamp) -> Result<(), StoreError> {
        self.with(|state| state.duties.entry(duty).or_default().end(now))
    }

    async fn duty_ended_at(&self, duty: Duty) -> Result<Option<Timestamp>, StoreError> {
        self.with(|state| state.duties.get(&duty).and_then(DutyRecord::ended_at))
    }
}
