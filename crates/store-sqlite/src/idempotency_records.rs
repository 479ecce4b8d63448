//! The requests that may be repeated, and the sessions they opened.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{IdempotencyKey, IdempotencyRecord, SessionId, Timestamp};
use mintgate_domain::ports::{Holder, IdempotencyRecords, Reserved, StoreError, StoreOperation};

use crate::error::Failure;
use crate::row::{Hex, Row};
use crate::schema::{idempotency_keys, idempotency_reservations};
use crate::store::SqliteStore;

#[async_trait]
impl IdempotencyRecords for SqliteStore {
    async fn reserve(
        &self,
        request: &IdempotencyKey,
        holder: &Holder,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Reserved, StoreError> {
        let (request, holder, clock) = (*request, *holder, self.clock.clone());
        let work = move |connection: &mut _| {
            reserve(connection, request, &holder, clock.now().into(), lease, now)
        };
        self.write(StoreOperation::Idempotency, work).await
    }

    async fn release(&self, key: TokenHash, holder: &Holder) -> Result<(), StoreError> {
        let holder = *holder;
        let work = move |connection: &mut _| {
            let held = idempotency_reservations::table
                .find(key.as_bytes().as_slice())
                .filter(idempotency_reservations::holder.eq(holder.as_slice()));
            diesel::delete(held).execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Idempotency, work).await
    }

    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError> {
        let work = move |connection: &mut _| find(connection, key, now);
        self.read(StoreOperation::Idempotency, work).await
    }
}

/// Reserves a key in a transaction; `clock` is the store's time.
fn reserve(
    connection: &mut SqliteConnection,
    request: IdempotencyKey,
    holder: &Holder,
    clock: Timestamp,
    lease: Duration,
    now: Timestamp,
) -> Result<Reserved, Failure> {
    let key = request.key;
    if let Some((before, session)) = find(connection, key, now)? {
        return Ok(Reserved::Opened(before, session));
    }
    let held: Option<(Vec<u8>, Vec<u8>)> = idempotency_reservations::table
        .find(key.as_bytes().as_slice())
        .filter(idempotency_reservations::expires_at.gt(clock.as_unix()))
        .select((idempotency_reservations::body_hash, idempotency_reservations::holder))
        .get_result(connection)
        .optional()?;
    if let Some((body, by)) = held {
        let row = Row { table: "idempotency_reservations", id: &Hex(key.as_bytes()) };
        let body = row.hash("body_hash", &body)?;
        if by != holder || body != request.body {
            return Ok(Reserved::ByAnother(Some(body)));
        }
    }
    let row = (
        idempotency_reservations::key_hash.eq(key.as_bytes().as_slice()),
        idempotency_reservations::body_hash.eq(request.body.as_bytes().as_slice()),
        idempotency_reservations::holder.eq(holder.as_slice()),
        idempotency_reservations::expires_at.eq((clock + lease).as_unix()),
    );
    diesel::replace_into(idempotency_reservations::table).values(row).execute(connection)?;
    Ok(Reserved::Own)
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
        .get_result(connection)
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
