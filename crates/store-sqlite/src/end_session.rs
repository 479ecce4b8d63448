//! Ends sessions: one, or all of a user.

use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::model::{RevokeReason, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{EndOutcome, StoreError};

use crate::error::store_error;
use crate::schema::sessions;

pub(crate) fn end_session(
    connection: &mut SqliteConnection,
    id: SessionId,
    user: UserId,
    reason: RevokeReason,
    now: Timestamp,
) -> Result<EndOutcome, StoreError> {
    let own = sessions::table
        .find(id.as_uuid().as_bytes().as_slice())
        .filter(sessions::user_id.eq(user.as_uuid().as_bytes().as_slice()));
    let outcome = connection.immediate_transaction(|connection| {
        let end =
            (sessions::revoked_at.eq(now.as_unix()), sessions::revoke_reason.eq(reason.name()));
        let ended = diesel::update(own.filter(sessions::revoked_at.is_null()))
            .set(end)
            .execute(connection)?;
        if ended == 1 {
            return Ok(EndOutcome::Ended);
        }
        let is_there = diesel::select(diesel::dsl::exists(own)).get_result(connection)?;
        Ok(if is_there { EndOutcome::EndedBefore } else { EndOutcome::Unknown })
    });
    outcome.map_err(|e: Error| store_error(&e))
}

pub(crate) fn end_user_sessions(
    connection: &mut SqliteConnection,
    user: UserId,
    reason: RevokeReason,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let live = sessions::table
        .filter(sessions::user_id.eq(user.as_uuid().as_bytes().as_slice()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::cur_exp.gt(now.as_unix()));
    let end = (sessions::revoked_at.eq(now.as_unix()), sessions::revoke_reason.eq(reason.name()));
    let ended = connection
        .immediate_transaction(|connection| diesel::update(live).set(end).execute(connection));
    ended.map(|rows| rows as u64).map_err(|e| store_error(&e))
}
