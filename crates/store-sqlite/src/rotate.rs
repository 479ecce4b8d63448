//! Exchanges a refresh token for its successor, as the domain's rules decide.

use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::model::{
    PreviousToken, RefreshState, RevokeReason, Rotation, Session, Verdict,
};
use mintgate_domain::ports::{RotateOutcome, StoreError};

use crate::error::store_error;
use crate::json;
use crate::schema::{sessions, users};
use crate::session_row::{SessionRow, corrupt};

/// Why a transaction is rolled back.
struct Failed(StoreError);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(store_error(&error))
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

/// The transaction takes the write lock before it looks: what it judges is what it writes to.
pub(crate) fn rotate(
    connection: &mut SqliteConnection,
    rotation: &Rotation,
) -> Result<RotateOutcome, StoreError> {
    let outcome =
        connection.immediate_transaction(|connection| judge_and_write(connection, rotation));
    outcome.map_err(|Failed(error)| error)
}

fn judge_and_write(
    connection: &mut SqliteConnection,
    rotation: &Rotation,
) -> Result<RotateOutcome, Failed> {
    let found: Option<(SessionRow, Option<i64>)> = sessions::table
        .inner_join(users::table)
        .filter(sessions::id.eq(rotation.session.as_uuid().as_bytes().as_slice()))
        .select((SessionRow::as_select(), users::disabled_at))
        .first(connection)
        .optional()?;
    let Some((row, disabled_at)) = found else { return Ok(RotateOutcome::Unknown) };
    let session = Session::try_from(row)?;
    Ok(match rotation.judge(&session, disabled_at.is_some()) {
        // Of a lost current token nothing is kept: the presented one is the one before still.
        Verdict::Rotate | Verdict::Supersede => {
            RotateOutcome::Rotated(Box::new(succeed(connection, rotation, session)?))
        }
        Verdict::Replay => {
            let session = count_replay(connection, rotation, session)?;
            RotateOutcome::Replayed(Box::new(session))
        }
        Verdict::Remint => RotateOutcome::Remint(Box::new(session)),
        Verdict::Reuse => {
            end(connection, rotation, RevokeReason::Reuse)?;
            RotateOutcome::Reused
        }
        Verdict::UserDisabled => {
            end(connection, rotation, RevokeReason::UserDisabled)?;
            RotateOutcome::UserDisabled
        }
        Verdict::Revoked(reason) => RotateOutcome::Revoked(reason),
        Verdict::Expired => RotateOutcome::Expired,
        Verdict::Ahead => RotateOutcome::Ahead,
        Verdict::Unknown => RotateOutcome::Unknown,
    })
}

/// Rewrites the row in place; no indexed column is touched.
fn succeed(
    connection: &mut SqliteConnection,
    rotation: &Rotation,
    mut session: Session,
) -> Result<Session, Failed> {
    let RefreshState { generation, hash, key_id, issued_at, expires_at } = &rotation.successor;
    let now = rotation.now.as_unix();
    let row = sessions::table.find(rotation.session.as_uuid().as_bytes().as_slice());
    let written = diesel::update(row)
        .set((
            sessions::generation.eq(i64::try_from(*generation).map_err(|_| corrupt("gen"))?),
            sessions::cur_hash.eq(hash.as_bytes().as_slice()),
            sessions::cur_kid.eq(key_id.as_str()),
            sessions::cur_iat.eq(issued_at.as_unix()),
            sessions::cur_exp.eq(expires_at.as_unix()),
            sessions::prev_hash.eq(rotation.presented.hash.as_bytes().as_slice()),
            sessions::prev_replays.eq(0),
            sessions::rotated_at.eq(now),
            sessions::last_used_at.eq(now),
            // Left as they are where none were decided again.
            rotation.roles.as_deref().map(|roles| sessions::roles.eq(json::roles(roles))),
        ))
        .execute(connection)?;
    require_one(written)?;
    if let Some(roles) = &rotation.roles {
        session.grant.roles.clone_from(roles);
    }
    let hash = rotation.presented.hash;
    Ok(Session {
        refresh: rotation.successor.clone(),
        previous: Some(PreviousToken { hash, rotated_at: rotation.now, replays: 0 }),
        last_used_at: rotation.now,
        ..session
    })
}

fn count_replay(
    connection: &mut SqliteConnection,
    rotation: &Rotation,
    mut session: Session,
) -> Result<Session, Failed> {
    if let Some(previous) = &mut session.previous
        && rotation.replay.counted
    {
        // Below the limit, says the verdict, so there is room.
        previous.replays = previous.replays.saturating_add(1);
        let row = sessions::table.find(rotation.session.as_uuid().as_bytes().as_slice());
        let written = diesel::update(row)
            .set(sessions::prev_replays.eq(i64::from(previous.replays)))
            .execute(connection)?;
        require_one(written)?;
    }
    Ok(session)
}

fn end(
    connection: &mut SqliteConnection,
    rotation: &Rotation,
    reason: RevokeReason,
) -> Result<(), Failed> {
    let row = sessions::table.find(rotation.session.as_uuid().as_bytes().as_slice());
    let written = diesel::update(row)
        .set((
            sessions::revoked_at.eq(rotation.now.as_unix()),
            sessions::revoke_reason.eq(reason.name()),
        ))
        .execute(connection)?;
    require_one(written)
}

/// The row was there when the lock was taken; answering without having written must not be.
fn require_one(written: usize) -> Result<(), Failed> {
    if written == 1 {
        return Ok(());
    }
    Err(Failed(StoreError::Unavailable("a session's row was not written".into())))
}
