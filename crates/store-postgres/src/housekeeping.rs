//! Clean-up.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Uuid};
use diesel_async::RunQueryDsl;
use mintgate_domain::model::{KeyId, SessionId, Timestamp};
use mintgate_domain::ports::{Housekeeping, StoreError, StoreOperation, SweepStep, Swept};

use crate::schema::sessions;
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::bound;

/// - `due` takes those of the page that have something done to them, except those that somebody
///   else is writing to: they are left to the next round. Which is which is checked again on a
///   row that has changed since the statement began.
/// - A session that ran out so long ago that it can go is not marked first.
/// - Of the page's sessions that have ended, the providers' tokens go at once.
/// - The page's last row is there only if the page is full.
static SWEEP: SqlText = SqlText::new(
    "WITH page AS MATERIALIZED (
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
    ), old_reservations AS MATERIALIZED (
        SELECT key_hash FROM idempotency_reservations WHERE expires_at <= clock_timestamp()
        ORDER BY expires_at LIMIT $limit FOR UPDATE SKIP LOCKED
    ), forgotten_reservations AS (
        DELETE FROM idempotency_reservations AS r USING old_reservations AS o
        WHERE r.key_hash = o.key_hash
    ), old_sessions AS MATERIALIZED (
        SELECT id FROM deleted_sessions WHERE forget_after <= $now
        ORDER BY forget_after LIMIT $limit FOR UPDATE SKIP LOCKED
    ), forgotten_sessions AS (
        DELETE FROM deleted_sessions AS d USING old_sessions AS o WHERE d.id = o.id
    ), old_revocations AS MATERIALIZED (
        SELECT id FROM revocations WHERE forget_after <= $now
        ORDER BY forget_after LIMIT $limit FOR UPDATE SKIP LOCKED
    ), forgotten_revocations AS (
        DELETE FROM revocations AS r USING old_revocations AS o WHERE r.id = o.id
    )
    SELECT (SELECT id FROM page ORDER BY id OFFSET $before_last LIMIT 1),
        count(*) FILTER (WHERE expired AND NOT absolute),
        count(*) FILTER (WHERE expired AND absolute),
        count(*) FILTER (WHERE goes)
    FROM due",
);

#[async_trait]
impl Housekeeping for PgStore {
    /// May be repeated: the second time finds nothing to do.
    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        self.run(StoreOperation::Sweep, async |connection, _| {
            // The nil id sorts before every session's id.
            let after = step.after.map(|id| *id.as_uuid()).unwrap_or_default();
            let values = [
                ("after", Value::Uuid(after)),
                ("limit", Value::BigInt(step.limit.into())),
                ("before_last", Value::BigInt(step.limit.saturating_sub(1).into())),
                ("now", Value::At(bound(step.now))),
                ("kept_since", Value::At(bound(step.now - step.keep_ended))),
            ];
            let sql = Sql::<(Nullable<Uuid>, BigInt, BigInt, BigInt)>::new(&SWEEP, values);
            let (next, expired_idle, expired_absolute, deleted) =
                sql.answer::<(Option<uuid::Uuid>, i64, i64, i64)>(connection).await?;
            Ok(Swept {
                next: next.map(SessionId::from_uuid),
                expired_idle: expired_idle.unsigned_abs(),
                expired_absolute: expired_absolute.unsigned_abs(),
                deleted: deleted.unsigned_abs(),
            })
        })
        .await
    }

    /// Reads the whole table: an index on the key would cost every rotation a write.
    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let live = sessions::table
            .filter(sessions::cur_kid.eq(id.as_str()))
            .filter(sessions::revoked_at.is_null())
            .filter(sessions::cur_exp.gt(bound(now)));
        let query = diesel::select(exists(live));
        self.run(StoreOperation::Sweep, async |connection, _| {
            Ok((&query).get_result(connection).await?)
        })
        .await
    }
}
