//! The log of revocations. Triggers write it (migration 0016).

use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use mintgate_domain::model::{Revocation, RevocationCursor, Revoked, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{RevocationLog, RevocationPage, StoreError, StoreOperation};

use crate::error::Failure;
use crate::row::Row;
use crate::schema::{revocation_log, revocations};
use crate::store::SqliteStore;

type EventRow = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<i64>, i64);

fn event(row: EventRow) -> Result<(u64, Revocation), StoreError> {
    let (position, session, user, epoch, issued_before, forget_after) = row;
    let name = Row { table: "revocations", id: &position };
    let revoked = match (session, user, epoch, issued_before) {
        (Some(session), ..) => {
            Revoked::Session(SessionId::from_uuid(name.uuid("session_id", &session)?))
        }
        (None, Some(user), Some(epoch), _) => Revoked::User {
            user: UserId::from_uuid(name.uuid("user_id", &user)?),
            epoch: name.number("epoch", epoch)?,
        },
        (None, _, _, Some(before)) => Revoked::IssuedBefore(Timestamp::from_unix(before)),
        _ => return Err(name.corrupt("session_id")),
    };
    let forget_after = Timestamp::from_unix(forget_after);
    Ok((name.number("position", position)?, Revocation { revoked, forget_after }))
}

fn read(
    connection: &mut SqliteConnection,
    after: Option<&RevocationCursor>,
    now: Timestamp,
    limit: u32,
) -> Result<Option<RevocationPage>, Failure> {
    let (log, last): (String, i64) = revocation_log::table
        .select((revocation_log::identity, revocation_log::last_position))
        .get_result(connection)?;
    let last: u64 = Row { table: "revocation_log", id: &1 }.number("last_position", last)?;
    let mut behind = 0;
    if let Some(after) = after {
        match after.position_in(&log) {
            Some(position) if position <= last => behind = position,
            _ => return Ok(None),
        }
    }
    let rows: Vec<EventRow> = revocations::table
        .filter(revocations::position.gt(i64::try_from(behind).unwrap_or(i64::MAX)))
        .filter(revocations::forget_after.gt(now.as_unix()))
        .order(revocations::position)
        .limit(limit.into())
        .load(connection)?;
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let (position, event) = event(row)?;
        behind = position;
        events.push(event);
    }
    let more = events.len() as u64 >= u64::from(limit);
    Ok(Some(RevocationPage { events, cursor: RevocationCursor::behind(&log, behind), more }))
}

#[async_trait]
impl RevocationLog for SqliteStore {
    /// The identity and the events are of one moment: the log is read in a transaction.
    async fn revocations(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Option<RevocationPage>, StoreError> {
        let after = after.cloned();
        let work = move |connection: &mut SqliteConnection| {
            connection.transaction(|connection| read(connection, after.as_ref(), now, limit))
        };
        self.read(StoreOperation::Revocations, work).await
    }

    /// A shorter time waits until nobody has said the longer one for as long as it is.
    async fn keep_revocations_for(&self, lifetime: Duration) -> Result<(), StoreError> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let work = move |connection: &mut SqliteConnection| {
            let is_forgotten = sql::<Bool>("confirmed_at + token_seconds < unixepoch()");
            diesel::update(revocation_log::table)
                .filter(revocation_log::token_seconds.le(seconds).or(is_forgotten))
                .set((
                    revocation_log::token_seconds.eq(seconds),
                    revocation_log::confirmed_at.eq(sql("unixepoch()")),
                ))
                .execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Revocations, work).await
    }
}
