//! Duties. The row of each is made with the table that it looks after.

use std::time::Duration;

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{Duties, Duty, StoreError, StoreOperation};

use crate::schema::duties::{self, ended_at, held_until};
use crate::store::PgStore;
use crate::time::{bound, from_postgres, to_postgres};

#[async_trait]
impl Duties for PgStore {
    /// A call that is repeated because its answer was lost finds the duty held, by itself.
    async fn claim_duty(
        &self,
        duty: Duty,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        self.run(StoreOperation::Sweep, async |connection, _| {
            let is_free = held_until.is_null().or(held_until.le(bound(now)));
            let is_due = ended_at.is_null().or(ended_at.le(bound(now - every)));
            let claimed = diesel::update(duties::table.find(duty.name()))
                .filter(is_free.assume_not_null())
                .filter(is_due.assume_not_null())
                .set(held_until.eq(bound(now + lease)))
                .execute(connection)
                .await?;
            Ok(claimed == 1)
        })
        .await
    }

    async fn end_duty(&self, duty: Duty, now: Timestamp) -> Result<(), StoreError> {
        let now = to_postgres(now)?;
        self.run(StoreOperation::Sweep, async |connection, _| {
            diesel::update(duties::table.find(duty.name()))
                .set((held_until.eq(None::<PgTimestamp>), ended_at.eq(now)))
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }

    async fn duty_ended_at(&self, duty: Duty) -> Result<Option<Timestamp>, StoreError> {
        let query = duties::table.find(duty.name()).select(ended_at);
        self.run(StoreOperation::Sweep, async |connection, _| {
            let ended: Option<PgTimestamp> = (&query).get_result(connection).await?;
            Ok(ended.and_then(from_postgres))
        })
        .await
    }
}
