//! Marks of what counts once, and requests that may be repeated.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::TokenHash;
use mintgate_domain::model::{IdempotencyKey, SessionId, SingleUse, Timestamp};
use mintgate_domain::ports::{IdempotencyRecords, OnceMarks, StoreError, StoreOperation};

use crate::error::{Failure, RowName};
use crate::schema::{idempotency_keys, single_use_marks};
use crate::store::PgStore;
use crate::time::{bound, to_postgres};

/// Stores a mark, in the transaction of the connection; `false` if it is stored already.
pub(crate) async fn claim(
    connection: &mut AsyncPgConnection,
    mark: &SingleUse,
) -> Result<bool, Failure> {
    let stored = diesel::insert_into(single_use_marks::table)
        .values((
            single_use_marks::hash.eq(mark.hash.as_bytes().as_slice()),
            single_use_marks::expires_at.eq(to_postgres(mark.expires_at)?),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok(stored == 1)
}

#[async_trait]
impl OnceMarks for PgStore {
    /// A call that is repeated because its answer was lost cannot tell its own mark from another
    /// caller's: it returns `false`.
    async fn claim(&self, mark: &SingleUse) -> Result<bool, StoreError> {
        self.run(StoreOperation::OnceMarks, async |connection, _| claim(connection, mark).await)
            .await
    }

    async fn is_claimed(&self, hash: TokenHash) -> Result<bool, StoreError> {
        let mark = single_use_marks::table.find(hash.as_bytes().as_slice());
        let query = diesel::select(exists(mark));
        self.run(StoreOperation::OnceMarks, async |connection, _| {
            Ok((&query).get_result(connection).await?)
        })
        .await
    }
}

#[async_trait]
impl IdempotencyRecords for PgStore {
    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError> {
        let query = idempotency_keys::table
            .find(key.as_bytes().as_slice())
            .filter(idempotency_keys::expires_at.gt(bound(now)))
            .select((idempotency_keys::body_hash, idempotency_keys::session_id));
        self.run(StoreOperation::FindOpening, async |connection, _| {
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
