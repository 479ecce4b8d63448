//! Duties, of which one process at a time does each.

use std::time::Duration;

use diesel::prelude::*;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{StoreError, StoreOperation};

use crate::schema::duties;
use crate::store::SqliteStore;

impl SqliteStore {
    /// Takes the duty of this name, whose row is made with its table, for `lease` from `now` on; `false`
    /// if another holds it, or has ended a round less than `every` ago.
    pub(crate) async fn claim_duty(
        &self,
        name: &'static str,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        let work = move |connection: &mut _| {
            let is_free = duties::held_until.is_null().or(duties::held_until.le(now.as_unix()));
            let is_due =
                duties::ended_at.is_null().or(duties::ended_at.le((now - every).as_unix()));
            let claimed = diesel::update(duties::table.find(name).filter(is_free).filter(is_due))
                .set(duties::held_until.eq((now + lease).as_unix()))
                .execute(connection)?;
            Ok(claimed == 1)
        };
        self.write(StoreOperation::Sweep, work).await
    }

    /// Gives the duty back after a round.
    pub(crate) async fn end_duty(
        &self,
        name: &'static str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let work = move |connection: &mut _| {
            diesel::update(duties::table.find(name))
                .set((duties::held_until.eq(None::<i64>), duties::ended_at.eq(now.as_unix())))
                .execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Sweep, work).await
    }

    /// When the last round ended; `None` if there never was one.
    pub(crate) async fn duty_ended_at(
        &self,
        name: &'static str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let work = move |connection: &mut _| {
            let ended: Option<i64> =
                duties::table.find(name).select(duties::ended_at).first(connection)?;
            Ok(ended.map(Timestamp::from_unix))
        };
        self.read(StoreOperation::Sweep, work).await
    }
}
