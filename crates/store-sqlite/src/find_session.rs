//! Finds sessions: by id, by the request that opened one, by user.

use diesel::prelude::*;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{IdempotencyKey, Session, SessionId, Timestamp, User, UserId};
use mintgate_domain::ports::StoreError;

use crate::error::store_error;
use crate::find_user::UserRow;
use crate::schema::{idempotency_keys, sessions, users};
use crate::session_row::{SessionRow, hash};

pub(crate) fn find_session(
    connection: &mut SqliteConnection,
    id: SessionId,
) -> Result<Option<Session>, StoreError> {
    let row = sessions::table
        .find(id.as_uuid().as_bytes().as_slice())
        .select(SessionRow::as_select())
        .first(connection)
        .optional();
    row.map_err(|e| store_error(&e))?.map(Session::try_from).transpose()
}

pub(crate) fn find_session_and_user(
    connection: &mut SqliteConnection,
    id: SessionId,
) -> Result<Option<(Session, User)>, StoreError> {
    let rows: Option<(SessionRow, UserRow)> = sessions::table
        .inner_join(users::table)
        .filter(sessions::id.eq(id.as_uuid().as_bytes().as_slice()))
        .select((SessionRow::as_select(), UserRow::as_select()))
        .first(connection)
        .optional()
        .map_err(|e| store_error(&e))?;
    let Some((session, user)) = rows else { return Ok(None) };
    Ok(Some((session.try_into()?, user.try_into()?)))
}

pub(crate) fn find_opening(
    connection: &mut SqliteConnection,
    key: TokenHash,
    now: Timestamp,
) -> Result<Option<(IdempotencyKey, Session)>, StoreError> {
    let found: Option<(Vec<u8>, SessionRow)> = idempotency_keys::table
        .inner_join(sessions::table)
        .filter(idempotency_keys::key_hash.eq(key.as_bytes().as_slice()))
        .filter(idempotency_keys::expires_at.gt(now.as_unix()))
        .select((idempotency_keys::body_hash, SessionRow::as_select()))
        .first(connection)
        .optional()
        .map_err(|e| store_error(&e))?;
    let Some((body, row)) = found else { return Ok(None) };
    let request = IdempotencyKey { key, body: hash(&body, "body_hash")? };
    Ok(Some((request, row.try_into()?)))
}

pub(crate) fn live_sessions(
    connection: &mut SqliteConnection,
    user: UserId,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Session>, StoreError> {
    let rows = sessions::table
        .filter(sessions::user_id.eq(user.as_uuid().as_bytes().as_slice()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::cur_exp.gt(now.as_unix()))
        .order((sessions::last_used_at.desc(), sessions::id.desc()))
        .limit(limit.into())
        .select(SessionRow::as_select())
        .load(connection)
        .map_err(|e| store_error(&e))?;
    rows.into_iter().map(Session::try_from).collect()
}
