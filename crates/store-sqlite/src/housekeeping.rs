//! The clean-up: a look that keeps nobody from anything, and a short write if something is due.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use mintgate_domain::model::{KeyId, RevokeReason, SessionId, Timestamp};
use mintgate_domain::ports::{Housekeeping, StoreError, StoreOperation, SweepStep, Swept};

use crate::error::Failure;
use crate::row::{Hex, Row};
use crate::schema::{
    deleted_sessions, idempotency_keys, idempotency_reservations, revocations, sessions,
    single_use_marks, upstream_tokens,
};
use crate::sessions::is_live;
use crate::store::SqliteStore;

#[async_trait]
impl Housekeeping for SqliteStore {
    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        let step = *step;
        let call = async {
            let due = self.readers.run(move |connection| look(connection, &step)).await?;
            if due.is_nothing() {
                return Ok(Swept { next: due.next, ..Swept::default() });
            }
            self.writer.transact(move |connection| write(connection, &step, &due)).await
        };
        self.observed(StoreOperation::Sweep, call).await
    }

    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let id = id.clone();
        let work = move |connection: &mut _| {
            let signed_with_it =
                sessions::table.filter(sessions::cur_kid.eq(id.as_str())).filter(is_live(now));
            Ok(diesel::select(exists(signed_with_it)).get_result(connection)?)
        };
        self.read(StoreOperation::Sweep, work).await
    }

    async fn shorten_log(&self) -> Result<(), StoreError> {
        self.shorten_log().await
    }
}

/// The rows that a step has to change or delete.
struct Due {
    /// Sessions that have run out, or ended long ago, or ended and have a provider's token still.
    sessions: Vec<Vec<u8>>,
    /// Single-use marks that have expired.
    marks: Vec<Vec<u8>>,
    /// Idempotency records that have expired.
    keys: Vec<Vec<u8>>,
    /// Reservations of idempotency keys whose lease has ended.
    reservations: Vec<Vec<u8>>,
    /// Sessions that were deleted with their user, and can be forgotten.
    deleted: Vec<Vec<u8>>,
    /// Positions of the log of revocations whose access tokens have expired.
    revocations: Vec<i64>,
    /// The session after which the next step begins; `None` if this is the last step.
    next: Option<SessionId>,
}

impl Due {
    /// Whether nothing is due, so that the writer is not needed.
    fn is_nothing(&self) -> bool {
        [&self.sessions, &self.marks, &self.keys, &self.reservations, &self.deleted]
            .into_iter()
            .all(Vec::is_empty)
            && self.revocations.is_empty()
    }
}

/// The time before which a session must have ended for its row to be deleted.
fn forgotten_before(step: &SweepStep) -> Timestamp {
    step.now - step.keep_ended
}

/// Finds what is due, without a lock.
fn look(connection: &mut SqliteConnection, step: &SweepStep) -> Result<Due, Failure> {
    let has_token = upstream_tokens::session_id.nullable().is_not_null();
    let mut page = sessions::table
        .left_join(upstream_tokens::table)
        .order(sessions::id)
        .limit(step.limit.into())
        .select((sessions::id, sessions::cur_exp, sessions::revoked_at, has_token))
        .into_boxed();
    if let Some(after) = step.after {
        page = page.filter(sessions::id.gt(after.as_uuid().as_bytes().to_vec()));
    }
    let page: Vec<(Vec<u8>, i64, Option<i64>, bool)> = page.load(connection)?;
    let is_last = page.len() < usize::try_from(step.limit).unwrap_or(usize::MAX);
    let next = match page.last() {
        Some((id, ..)) if !is_last => {
            let row = Row { table: "sessions", id: &Hex(id) };
            Some(SessionId::from_uuid(row.uuid("id", id)?))
        }
        _ => None,
    };
    let (now, forgotten) = (step.now.as_unix(), forgotten_before(step).as_unix());
    let due = page.into_iter().filter(|(_, cur_exp, revoked_at, has_token)| match revoked_at {
        None => *cur_exp <= now,
        Some(at) => *at < forgotten || *has_token,
    });
    Ok(Due {
        sessions: due.map(|(id, ..)| id).collect(),
        marks: single_use_marks::table
            .filter(single_use_marks::expires_at.le(now))
            .select(single_use_marks::hash)
            .limit(step.limit.into())
            .load(connection)?,
        keys: idempotency_keys::table
            .filter(idempotency_keys::expires_at.le(now))
            .select(idempotency_keys::key_hash)
            .limit(step.limit.into())
            .load(connection)?,
        reservations: idempotency_reservations::table
            .filter(idempotency_reservations::expires_at.le(now))
            .select(idempotency_reservations::key_hash)
            .limit(step.limit.into())
            .load(connection)?,
        deleted: deleted_sessions::table
            .filter(deleted_sessions::forget_after.le(now))
            .select(deleted_sessions::id)
            .limit(step.limit.into())
            .load(connection)?,
        revocations: revocations::table
            .filter(revocations::forget_after.le(now))
            .select(revocations::position)
            .limit(step.limit.into())
            .load(connection)?,
        next,
    })
}

/// Writes, under the conditions that were looked for: what was refreshed since is left alone.
fn write(connection: &mut SqliteConnection, step: &SweepStep, due: &Due) -> Result<Swept, Failure> {
    let now = step.now.as_unix();
    let mut swept = Swept { next: due.next, ..Swept::default() };
    for id in &due.sessions {
        sweep_session(connection, step, id, &mut swept)?;
    }
    let marks = single_use_marks::table
        .filter(single_use_marks::hash.eq_any(&due.marks))
        .filter(single_use_marks::expires_at.le(now));
    diesel::delete(marks).execute(connection)?;
    // A key that somebody has used again since has not expired.
    let keys = idempotency_keys::table
        .filter(idempotency_keys::key_hash.eq_any(&due.keys))
        .filter(idempotency_keys::expires_at.le(now));
    diesel::delete(keys).execute(connection)?;
    let reservations = idempotency_reservations::table
        .filter(idempotency_reservations::key_hash.eq_any(&due.reservations))
        .filter(idempotency_reservations::expires_at.le(now));
    diesel::delete(reservations).execute(connection)?;
    let deleted = deleted_sessions::table.filter(deleted_sessions::id.eq_any(&due.deleted));
    diesel::delete(deleted).execute(connection)?;
    let forgotten = revocations::table.filter(revocations::position.eq_any(&due.revocations));
    diesel::delete(forgotten).execute(connection)?;
    Ok(swept)
}

fn sweep_session(
    connection: &mut SqliteConnection,
    step: &SweepStep,
    id: &[u8],
    swept: &mut Swept,
) -> QueryResult<()> {
    let live = sessions::revoked_at.is_null().and(sessions::cur_exp.le(step.now.as_unix()));
    let run_out = sessions::table.find(id).filter(live);
    // A session that ran out at its absolute limit ended for that limit, any other for idling.
    let reached = sessions::cur_exp.eq(sessions::absolute_expires_at);
    for (reason, at_its_limit, marked) in [
        (RevokeReason::ExpiredAbsolute, true, &mut swept.expired_absolute),
        (RevokeReason::ExpiredIdle, false, &mut swept.expired_idle),
    ] {
        let end = (
            sessions::revoked_at.eq(sessions::cur_exp.nullable()),
            sessions::revoke_reason.eq(reason.name()),
        );
        let rows = diesel::update(run_out.filter(reached.eq(at_its_limit)))
            .set(end)
            .execute(connection)?;
        *marked += rows as u64;
    }
    // The tokens of the provider of a session that has ended are of no use any more.
    let has_ended = exists(sessions::table.find(id).filter(sessions::revoked_at.is_not_null()));
    let useless = upstream_tokens::table.find(id).filter(has_ended);
    diesel::delete(useless).execute(connection)?;
    let forgotten = forgotten_before(step).as_unix();
    let over = sessions::table.find(id).filter(sessions::revoked_at.lt(forgotten));
    swept.deleted += diesel::delete(over).execute(connection)? as u64;
    Ok(())
}
