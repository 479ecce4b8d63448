//! One step of the clean-up.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Uuid};
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::SessionId;
use mintgate_domain::ports::{SweepStep, Swept};

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::bound;

/// - `due` takes those of the page that have something done to them, except those that somebody
///   else is writing to: they are left to the next round. Which is which is checked again on a
///   row that has changed since the statement began.
/// - A session that ran out so long ago that it can go is not marked first.
/// - Of the page's sessions that have ended, the providers' refresh tokens go at once.
/// - The page's last row is there only if the page is full.
const TEXT: &str = "WITH page AS MATERIALIZED (
        SELECT id, revoked_at IS NOT NULL AS ended FROM sessions
        WHERE id > $after ORDER BY id LIMIT $limit
    ), due AS MATERIALIZED (
        SELECT s.id, s.revoked_at IS NULL AS expired,
            s.cur_exp >= s.absolute_expires_at AS absolute,
            COALESCE(s.revoked_at, s.cur_exp) < $kept_since AS goes
        FROM sessions AS s JOIN page ON page.id = s.id
        WHERE (s.revoked_at IS NULL AND s.cur_exp <= $now) OR s.revoked_at < $kept_since
        FOR UPDATE OF s SKIP LOCKED
    ), marked AS (
        UPDATE sessions AS s SET revoked_at = s.cur_exp, revoke_reason =
            CASE WHEN due.absolute THEN 'expired_absolute' ELSE 'expired_idle' END
        FROM due WHERE s.id = due.id AND due.expired AND NOT due.goes
    ), deleted AS (
        DELETE FROM sessions AS s USING due WHERE s.id = due.id AND due.goes
    ), useless AS MATERIALIZED (
        SELECT t.session_id FROM upstream_tokens AS t JOIN page ON page.id = t.session_id
        WHERE page.ended OR page.id IN (SELECT due.id FROM due WHERE due.expired)
        FOR UPDATE OF t SKIP LOCKED
    ), forgotten_tokens AS (
        DELETE FROM upstream_tokens AS t USING useless AS u WHERE t.session_id = u.session_id
    ), old_marks AS MATERIALIZED (
        SELECT hash FROM single_use_marks WHERE expires_at <= $now
        ORDER BY expires_at LIMIT $limit FOR UPDATE SKIP LOCKED
    ), forgotten_marks AS (
        DELETE FROM single_use_marks AS m USING old_marks AS o WHERE m.hash = o.hash
    ), old_keys AS MATERIALIZED (
        SELECT key_hash FROM idempotency_keys WHERE expires_at <= $now
        ORDER BY expires_at LIMIT $limit FOR UPDATE SKIP LOCKED
    ), forgotten_keys AS (
        DELETE FROM idempotency_keys AS k USING old_keys AS o WHERE k.key_hash = o.key_hash
    )
    SELECT (SELECT id FROM page ORDER BY id OFFSET $before_last LIMIT 1) AS next,
        count(*) FILTER (WHERE expired AND NOT absolute) AS expired_idle,
        count(*) FILTER (WHERE expired AND absolute) AS expired_absolute,
        count(*) FILTER (WHERE goes) AS deleted
    FROM due";

/// Sorts before every session's id.
const BEFORE_ALL: uuid::Uuid = uuid::Uuid::nil();

/// A step through the sessions. Done twice, it finds nothing to do the second time.
pub(crate) struct Sweep<'a>(pub(crate) &'a SweepStep);

#[derive(QueryableByName)]
struct SweptRow {
    #[diesel(sql_type = Nullable<Uuid>)]
    next: Option<uuid::Uuid>,
    #[diesel(sql_type = BigInt)]
    expired_idle: i64,
    #[diesel(sql_type = BigInt)]
    expired_absolute: i64,
    #[diesel(sql_type = BigInt)]
    deleted: i64,
}

impl Statement for Sweep<'_> {
    type Output = Swept;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Swept, Failure> {
        let step = self.0;
        let values = [
            ("after", Value::Uuid(step.after.as_ref().map_or(&BEFORE_ALL, SessionId::as_uuid))),
            ("limit", Value::BigInt(step.limit.into())),
            ("before_last", Value::BigInt(step.limit.saturating_sub(1).into())),
            ("now", Value::At(bound(step.now))),
            ("kept_since", Value::At(bound(step.now - step.keep_ended))),
        ];
        let row: SweptRow = Sql::new(TEXT, values).answer(connection).await?;
        Ok(Swept {
            next: row.next.map(SessionId::from_uuid),
            expired_idle: row.expired_idle.unsigned_abs(),
            expired_absolute: row.expired_absolute.unsigned_abs(),
            deleted: row.deleted.unsigned_abs(),
        })
    }
}
