//! Who sweeps: one process at a time, and not too often.

use std::time::Duration;

use diesel::prelude::*;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::StoreError;

use crate::error::store_error;
use crate::schema::duties;

/// Its row is made with its table.
const SWEEP: &str = "sweep";

/// One conditional statement: of several callers one finds the duty free.
pub(crate) fn claim_sweep(
    connection: &mut SqliteConnection,
    now: Timestamp,
    lease: Duration,
    every: Duration,
) -> Result<bool, StoreError> {
    let is_free = duties::held_until.is_null().or(duties::held_until.le(now.as_unix()));
    let is_due = duties::ended_at.is_null().or(duties::ended_at.le((now - every).as_unix()));
    let duty = duties::table.find(SWEEP).filter(is_free).filter(is_due);
    let claimed = diesel::update(duty)
        .set(duties::held_until.eq((now + lease).as_unix()))
        .execute(connection);
    claimed.map(|rows| rows == 1).map_err(|e| store_error(&e))
}

pub(crate) fn end_sweep(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<(), StoreError> {
    let ended = diesel::update(duties::table.find(SWEEP))
        .set((duties::held_until.eq(None::<i64>), duties::ended_at.eq(now.as_unix())))
        .execute(connection);
    ended.map(|_| ()).map_err(|e| store_error(&e))
}
