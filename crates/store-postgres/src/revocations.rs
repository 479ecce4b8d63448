//! The log of revocations. Triggers write it (migration 0016).

use std::time::Duration;

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{Revocation, RevocationCursor, Revoked, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{RevocationLog, RevocationPage, StoreError, StoreOperation};

use crate::error::{Failure, RowName};
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::bound;

/// How many rows get a position at once.
const NUMBERED_AT_ONCE: i64 = 10_000;

/// The first columns are the same in every row; there is one row at least.
static PAGE: SqlText = SqlText::new(
    "SELECT replace(log.identity::text, '-', ''), log.last_position,
        EXISTS (SELECT FROM revocations WHERE position IS NULL),
        r.position, r.session_id, r.user_id, r.epoch, r.issued_before, r.forget_after
    FROM revocation_log AS log LEFT JOIN LATERAL (
        SELECT * FROM revocations WHERE position > $after AND forget_after > $now
        ORDER BY position LIMIT $limit
    ) AS r ON true
    ORDER BY r.position",
);

/// Gives positions to the rows that have none, all of which are committed.
///
/// The row of the log is locked, so the positions of two of these statements at once are those of one before
/// the other, in the order in which they commit. A statement that waited for the lock may have seen rows
/// without a position that have one by now; the last condition leaves them alone.
static NUMBER: SqlText = SqlText::new(
    "WITH fresh AS MATERIALIZED (
        SELECT id FROM revocations WHERE position IS NULL ORDER BY id LIMIT $limit
    ), numbered AS (
        SELECT id, row_number() OVER (ORDER BY id) AS n FROM fresh
    ), log AS (
        UPDATE revocation_log SET last_position = GREATEST(last_position + $limit,
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
        WHERE EXISTS (SELECT FROM fresh)
        RETURNING last_position
    )
    UPDATE revocations AS r SET position = log.last_position - $limit + numbered.n
    FROM log, numbered WHERE r.id = numbered.id AND r.position IS NULL",
);

/// A shorter time waits until nobody has said the longer one for as long as it is.
static KEEP_FOR: SqlText = SqlText::new(
    "UPDATE revocation_log SET token_seconds = $seconds, confirmed_at = clock_timestamp()
    WHERE token_seconds <= $seconds
        OR confirmed_at + make_interval(secs => token_seconds) < clock_timestamp()",
);

type PageColumns = (
    Text,
    BigInt,
    Bool,
    Nullable<BigInt>,
    Nullable<Uuid>,
    Nullable<Uuid>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
);

type PageRow = (
    String,
    i64,
    bool,
    Option<i64>,
    Option<uuid::Uuid>,
    Option<uuid::Uuid>,
    Option<i64>,
    Option<PgTimestamp>,
    Option<PgTimestamp>,
);

fn event(row: &PageRow) -> Result<Option<(u64, Revocation)>, StoreError> {
    let &(_, _, _, Some(position), session, user, epoch, issued_before, forget_after) = row else {
        return Ok(None);
    };
    let name = RowName { table: "revocations", id: &position };
    let revoked = match (session, user, epoch) {
        (Some(session), ..) => Revoked::Session(SessionId::from_uuid(session)),
        (None, Some(user), Some(epoch)) => {
            Revoked::User { user: UserId::from_uuid(user), epoch: name.number("epoch", epoch)? }
        }
        _ => {
            let before = name.maybe_time("issued_before", issued_before)?;
            Revoked::IssuedBefore(before.ok_or_else(|| name.corrupt("issued_before"))?)
        }
    };
    let forget_after = name.maybe_time("forget_after", forget_after)?;
    let forget_after = forget_after.ok_or_else(|| name.corrupt("forget_after"))?;
    Ok(Some((name.number("position", position)?, Revocation { revoked, forget_after })))
}

/// A page, and whether rows wait for a position.
struct Found {
    page: RevocationPage,
    has_fresh: bool,
}

/// The events behind a place of the log that have a position; `None` if the log has no such place.
async fn page(
    connection: &mut AsyncPgConnection,
    after: Option<&RevocationCursor>,
    now: Timestamp,
    limit: u32,
) -> Result<Option<Found>, Failure> {
    // Which log it is of is compared with the answer: both are of one moment.
    let presented = after.and_then(|cursor| cursor.as_str().rsplit_once('.')?.1.parse().ok());
    let values = [
        ("after", Value::BigInt(presented.unwrap_or(0))),
        ("now", Value::At(bound(now))),
        ("limit", Value::BigInt(limit.into())),
    ];
    let rows: Vec<PageRow> = Sql::<PageColumns>::new(&PAGE, values).get_results(connection).await?;
    let name = RowName { table: "revocation_log", id: &1 };
    let Some((log, last, has_fresh, ..)) = rows.as_slice().first() else {
        return Err(name.corrupt("identity").into());
    };
    let (log, has_fresh) = (log.clone(), *has_fresh);
    let last: u64 = name.number("last_position", *last)?;
    let mut behind = 0;
    if let Some(after) = after {
        match after.position_in(&log) {
            Some(position) if position <= last => behind = position,
            _ => return Ok(None),
        }
    }
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some((position, event)) = event(&row)? {
            behind = position;
            events.push(event);
        }
    }
    let more = events.len() as u64 >= u64::from(limit);
    let page = RevocationPage { events, cursor: RevocationCursor::behind(&log, behind), more };
    Ok(Some(Found { page, has_fresh }))
}

#[async_trait]
impl RevocationLog for PgStore {
    /// One round trip where nothing is new.
    async fn revocations(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Option<RevocationPage>, StoreError> {
        self.run(StoreOperation::Revocations, async |connection, _| {
            let Some(found) = page(connection, after, now, limit).await? else { return Ok(None) };
            if !found.has_fresh || found.page.more {
                return Ok(Some(found.page));
            }
            let values = [("limit", Value::BigInt(NUMBERED_AT_ONCE))];
            Sql::<()>::new(&NUMBER, values).execute(connection).await?;
            let again = page(connection, after, now, limit).await?;
            Ok(again.map(|found| RevocationPage {
                more: found.page.more || found.has_fresh,
                ..found.page
            }))
        })
        .await
    }

    async fn keep_revocations_for(&self, lifetime: Duration) -> Result<(), StoreError> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        self.run(StoreOperation::Revocations, async |connection, _| {
            let values = [("seconds", Value::BigInt(seconds))];
            Sql::<()>::new(&KEEP_FOR, values).execute(connection).await?;
            Ok(())
        })
        .await
    }
}
