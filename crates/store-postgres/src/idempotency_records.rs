//! Requests that may be repeated, and keys that are held while one is answered.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool, Nullable, Uuid};
use diesel_async::RunQueryDsl;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{IdempotencyKey, SessionId, Timestamp};
use mintgate_domain::ports::{Holder, IdempotencyRecords, Reserved, StoreError, StoreOperation};

use crate::error::RowName;
use crate::schema::{idempotency_keys, idempotency_reservations};
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::bound;

/// A reservation is not deleted when its session is opened. So a statement whose snapshot is from
/// before that finds no session, and the row in its way. What `held` sees may lack a row that was
/// written since the statement began.
static RESERVE: SqlText = SqlText::new(
    "WITH opened AS MATERIALIZED (
        SELECT body_hash, session_id FROM idempotency_keys
        WHERE key_hash = $key AND expires_at > $now
    ), reserved AS (
        INSERT INTO idempotency_reservations AS r (key_hash, body_hash, holder, expires_at)
        SELECT $key, $body, $holder, clock_timestamp() + $lease * interval '1 second'
        WHERE NOT EXISTS (SELECT FROM opened)
        ON CONFLICT (key_hash) DO UPDATE SET body_hash = EXCLUDED.body_hash,
            holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at
        WHERE r.expires_at <= clock_timestamp()
            OR (r.holder = EXCLUDED.holder AND r.body_hash = EXCLUDED.body_hash)
        RETURNING r.key_hash
    )
    SELECT EXISTS (SELECT FROM reserved), opened.body_hash, opened.session_id, held.body_hash
    FROM (SELECT) AS always LEFT JOIN opened ON true
        LEFT JOIN idempotency_reservations AS held ON held.key_hash = $key",
);

/// Whether the key is reserved now; the body and the session of an opening; the body it is held for.
type Row = (bool, Option<Vec<u8>>, Option<uuid::Uuid>, Option<Vec<u8>>);

#[async_trait]
impl IdempotencyRecords for PgStore {
    /// A call that is repeated because its answer was lost finds the key its own.
    async fn reserve(
        &self,
        request: &IdempotencyKey,
        holder: &Holder,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Reserved, StoreError> {
        let lease = i64::try_from(lease.as_secs()).unwrap_or(i64::MAX);
        self.run(StoreOperation::Idempotency, async |connection, _| {
            let values = [
                ("key", Value::Bytes(request.key.as_bytes())),
                ("body", Value::Bytes(request.body.as_bytes())),
                ("holder", Value::Bytes(holder)),
                ("lease", Value::BigInt(lease)),
                ("now", Value::At(bound(now))),
            ];
            let sql = Sql::<(Bool, Nullable<Binary>, Nullable<Uuid>, Nullable<Binary>)>::new(
                &RESERVE, values,
            );
            let (is_own, opened_by, session, held_for) = sql.answer::<Row>(connection).await?;
            let body = |column, bytes: &[u8]| {
                RowName { table: "idempotency_keys", id: &"(a digest)" }.hash(column, bytes)
            };
            if let (Some(opened_by), Some(session)) = (opened_by, session) {
                let before =
                    IdempotencyKey { key: request.key, body: body("body_hash", &opened_by)? };
                return Ok(Reserved::Opened(before, SessionId::from_uuid(session)));
            }
            if is_own {
                return Ok(Reserved::Own);
            }
            let held_for = held_for.map(|bytes| body("body_hash", &bytes)).transpose()?;
            Ok(Reserved::ByAnother(held_for))
        })
        .await
    }

    async fn release(&self, key: TokenHash, holder: &Holder) -> Result<(), StoreError> {
        let held = idempotency_reservations::table
            .find(key.as_bytes().as_slice())
            .filter(idempotency_reservations::holder.eq(holder.as_slice()));
        self.run(StoreOperation::Idempotency, async |connection, _| {
            diesel::delete(held).execute(connection).await?;
            Ok(())
        })
        .await
    }

    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError> {
        let query = idempotency_keys::table
            .find(key.as_bytes().as_slice())
            .filter(idempotency_keys::expires_at.gt(bound(now)))
            .select((idempotency_keys::body_hash, idempotency_keys::session_id));
        self.run(StoreOperation::Idempotency, async |connection, _| {
            let found: Option<(Vec<u8>, uuid::Uuid)> =
                (&query).get_result(connection).await.optional()?;
            let Some((body, session)) = found else { return Ok(None) };
            let row = RowName { table: "idempotency_keys", id: &session };
            let body = row.hash("body_hash", &body)?;
            Ok(Some((IdempotencyKey { key, body }, SessionId::from_uuid(session))))
        })
        .await
    }
}
