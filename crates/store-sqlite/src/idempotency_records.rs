//! The requests that may be repeated, and the sessions they opened.

use async_trait::async_trait;
use diesel::prelude::*;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{IdempotencyKey, IdempotencyRecord, SessionId, Timestamp};
use mintgate_domain::ports::{IdempotencyRecords, StoreError, StoreOperation};

use crate::error::Failure;
use crate::row::{Hex, Row};
use crate::schema::idempotency_keys;
use crate::store::SqliteStore;

#[async_trait]
impl IdempotencyRecords for SqliteStore {
    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError> {
        let work = move |connection: &mut _| find(connection, key, now);
        self.read(StoreOperation::FindOpening, work).await
    }
}

pub(crate) fn find(
    connection: &mut SqliteConnection,
    key: TokenHash,
    now: Timestamp,
) -> Result<Option<(IdempotencyKey, SessionId)>, Failure> {
    let found: Option<(Vec<u8>, Vec<u8>)> = idempotency_keys::table
        .find(key.as_bytes().as_slice())
        .filter(idempotency_keys::expires_at.gt(now.as_unix()))
        .select((idempotency_keys::body_hash, idempotency_keys::session_id))
        .first(connection)
        .optional()?;
    let Some((body, session)) = found else { return Ok(None) };
    let row = Row { table: "idempotency_keys", id: &Hex(key.as_bytes()) };
    let request = IdempotencyKey { key, body: row.hash("body_hash", &body)? };
    let session = SessionId::from_uuid(row.uuid("session_id", &session)?);
    Ok(Some((request, session)))
}

/// Stores the record of a request; one of the same key has expired, or there is none.
pub(crate) fn store(
    connection: &mut SqliteConnection,
    record: &IdempotencyRecord,
    session: SessionId,
) -> QueryResult<()> {
    let row = (
        idempotency_keys::key_hash.eq(record.request.key.as_bytes().as_slice()),
        idempotency_keys::body_hash.eq(record.request.body.as_bytes().as_slice()),
        idempotency_keys::session_id.eq(session.as_uuid().as_bytes().as_slice()),
        idempotency_keys::expires_at.eq(record.expires_at.as_unix()),
    );
    diesel::replace_into(idempotency_keys::table).values(row).execute(connection)?;
    Ok(())
}
