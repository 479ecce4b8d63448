//! Duties. The row of each is made with the table that it looks after.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{Duties, Duty, StoreError, StoreOperation};

use crate::schema::duties;
use crate::store::SqliteStore;

#[async_trait]
impl Duties for SqliteStore {
    async fn claim_duty(
        &self,
        duty: Duty,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        let work = move |connection: &mut _| {
            let is_free = duties::held_until.is_null().or(duties::held_until.le(now.as_unix()));
            let is_due =
                duties::ended_at.is_null().or(duties::ended_at.le((now - every).as_unix()));
            let claimed =
                diesel::update(duties::table.find(duty.name()).filter(is_free).filter(is_due))
                    .set(duties::held_until.eq((now + lease).as_unix()))
                    .execute(connection)?;
            Ok(claimed == 1)
        };
        self.write(StoreOperation::Sweep, work).await
    }

    async fn end_duty(&self, duty: Duty, now: Timestamp) -> Result<(), StoreError> {
        let work = move |connection: &mut _| {
            diesel::update(duties::table.find(duty.name()))
                .set((duties::held_until.eq(None::<i64>), duties::ended_at.eq(now.as_unix())))
                .execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Sweep, work).await
    }

    async fn duty_ended_at(&self, duty: Duty) -> Result<Option<Timestamp>, StoreError> {
        let work = move |connection: &mut _| {
            let ended: Option<i64> =
                duties::table.find(duty.name()).select(duties::ended_at).get_result(connection)?;
            Ok(ended.map(Timestamp::from_unix))
        };
        self.read(StoreOperation::Sweep, work).await
    }
}
