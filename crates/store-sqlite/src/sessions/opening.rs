//! Stores a session for the first time.

use diesel::dsl::exists;
use diesel::prelude::*;
use mintgate_domain::model::SessionOpening;
use mintgate_domain::ports::OpenOutcome;

use super::row::SessionRow;
use crate::error::Failure;
use crate::schema::{sessions, upstream_tokens};
use crate::upstream_tokens::AccessRow;
use crate::users::{find_person, keep_profile};
use crate::{idempotency_records, once_marks};

/// Stores a session and what belongs to its sign-in. Every check comes before the first write, so that a refusal has nothing to undo.
pub(super) fn open(
    connection: &mut SqliteConnection,
    opening: SessionOpening,
) -> Result<OpenOutcome, Failure> {
    let SessionOpening { session, single_use, upstream, profile, idempotency } = opening;
    let (id, user, now) = (session.id, session.user, session.created_at);
    let row = sessions::table.find(id.as_uuid().as_bytes().as_slice());
    // Session ids are random and fresh: an earlier attempt of this very call got through.
    if diesel::select(exists(row)).get_result(connection)? {
        return Ok(OpenOutcome::Opened);
    }
    let person = find_person(connection, session.user, &session.identity)?;
    if !person.is_some_and(|person| person.admits(&session)) {
        return Ok(OpenOutcome::PersonChanged);
    }
    if let Some(mark) = &single_use
        && once_marks::is_claimed(connection, mark.hash)?
    {
        return Ok(OpenOutcome::Replayed);
    }
    if let Some(record) = &idempotency
        && idempotency_records::find(connection, record.request.key, now)?.is_some()
    {
        return Ok(OpenOutcome::IdempotencyKeyTaken);
    }

    diesel::insert_into(sessions::table).values(SessionRow::from(session)).execute(connection)?;
    if let Some(mark) = &single_use {
        once_marks::claim(connection, mark)?;
    }
    if !upstream.is_empty() {
        let row = (
            upstream_tokens::session_id.eq(id.as_uuid().as_bytes().as_slice()),
            upstream_tokens::sealed.eq(upstream.refresh.map(|token| token.0)),
            upstream_tokens::id_token.eq(upstream.id.map(|token| token.0)),
            upstream.access.map_or(AccessRow::NONE, AccessRow::from),
            upstream_tokens::asked_at.eq(now.as_unix()),
        );
        diesel::insert_into(upstream_tokens::table).values(row).execute(connection)?;
    }
    if let Some(profile) = profile {
        keep_profile(connection, user, profile)?;
    }
    if let Some(record) = &idempotency {
        idempotency_records::store(connection, record, id)?;
    }
    Ok(OpenOutcome::Opened)
}
