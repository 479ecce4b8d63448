//! One step of the clean-up: a look that keeps nobody from anything, and a short write if it is due.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::model::{RevokeReason, SessionId, Timestamp};
use mintgate_domain::ports::{StoreError, SweepStep, Swept};

use crate::error::store_error;
use crate::schema::{idempotency_keys, sessions, single_use_marks, upstream_tokens};
use crate::session_row::uuid;

/// What a step has to do.
pub(crate) struct Due {
    /// Sessions that have run out, or ended long ago, or ended and have a provider's token still.
    sessions: Vec<Vec<u8>>,
    /// Single-use marks that have expired.
    marks: Vec<Vec<u8>>,
    /// Idempotency keys that have expired.
    keys: Vec<Vec<u8>>,
    /// Where the next step begins.
    pub(crate) next: Option<SessionId>,
}

impl Due {
    /// Nothing: the writer is not needed.
    pub(crate) fn is_nothing(&self) -> bool {
        self.sessions.is_empty() && self.marks.is_empty() && self.keys.is_empty()
    }
}

/// Before this, nothing is told about any more.
fn forgotten_before(step: &SweepStep) -> Timestamp {
    step.now - step.keep_ended
}

/// Looks, without a lock.
pub(crate) fn look(connection: &mut SqliteConnection, step: &SweepStep) -> Result<Due, StoreError> {
    let page: Vec<(Vec<u8>, i64, Option<i64>, bool)> = {
        let has_token = upstream_tokens::session_id.nullable().is_not_null();
        let page = sessions::table
            .left_join(upstream_tokens::table)
            .order(sessions::id)
            .limit(step.limit.into())
            .select((sessions::id, sessions::cur_exp, sessions::revoked_at, has_token));
        let page = match step.after {
            Some(after) => {
                page.filter(sessions::id.gt(after.as_uuid().as_bytes().to_vec())).load(connection)
            }
            None => page.load(connection),
        };
        page.map_err(|e| store_error(&e))?
    };
    let is_last = page.len() < usize::try_from(step.limit).unwrap_or(usize::MAX);
    let next = match page.last() {
        Some((id, ..)) if !is_last => Some(SessionId::from_uuid(uuid(id, "id")?)),
        _ => None,
    };
    let (now, forgotten) = (step.now.as_unix(), forgotten_before(step).as_unix());
    let due = page.into_iter().filter(|(_, cur_exp, revoked_at, has_token)| match revoked_at {
        None => *cur_exp <= now,
        Some(at) => *at < forgotten || *has_token,
    });
    let sessions = due.map(|(id, ..)| id).collect();
    let marks = single_use_marks::table
        .filter(single_use_marks::expires_at.le(now))
        .select(single_use_marks::hash)
        .limit(step.limit.into())
        .load(connection)
        .map_err(|e| store_error(&e))?;
    let keys = idempotency_keys::table
        .filter(idempotency_keys::expires_at.le(now))
        .select(idempotency_keys::key_hash)
        .limit(step.limit.into())
        .load(connection)
        .map_err(|e| store_error(&e))?;
    Ok(Due { sessions, marks, keys, next })
}

/// Writes, under the conditions that were looked for: what was refreshed since is left alone.
pub(crate) fn write(
    connection: &mut SqliteConnection,
    step: &SweepStep,
    due: &Due,
) -> Result<Swept, StoreError> {
    let swept = connection.immediate_transaction(|connection| {
        let now = step.now.as_unix();
        let mut swept = Swept { next: due.next, ..Swept::default() };
        for id in &due.sessions {
            sweep_session(connection, step, id, &mut swept)?;
        }
        for hash in &due.marks {
            let expired = single_use_marks::expires_at.le(now);
            diesel::delete(single_use_marks::table.find(hash).filter(expired))
                .execute(connection)?;
        }
        for key in &due.keys {
            // Unless somebody has used it again since.
            let expired = idempotency_keys::expires_at.le(now);
            diesel::delete(idempotency_keys::table.find(key).filter(expired))
                .execute(connection)?;
        }
        Ok(swept)
    });
    swept.map_err(|e: Error| store_error(&e))
}

fn sweep_session(
    connection: &mut SqliteConnection,
    step: &SweepStep,
    id: &[u8],
    swept: &mut Swept,
) -> QueryResult<()> {
    let live = sessions::revoked_at.is_null().and(sessions::cur_exp.le(step.now.as_unix()));
    let run_out = sessions::table.find(id).filter(live);
    // It ran out when its last token did; only that its absolute limit came then makes it that one.
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
    // Of one that has ended nobody asks its provider any more.
    let has_ended = exists(sessions::table.find(id).filter(sessions::revoked_at.is_not_null()));
    let useless = upstream_tokens::table.find(id).filter(has_ended);
    diesel::delete(useless).execute(connection)?;
    let forgotten = forgotten_before(step).as_unix();
    let over = sessions::table.find(id).filter(sessions::revoked_at.lt(forgotten));
    swept.deleted += diesel::delete(over).execute(connection)? as u64;
    Ok(())
}
