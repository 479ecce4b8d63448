//! Rotates a refresh token, or says why not: [`Rotation::judge`] in SQL.
//!
//! Nearly always the first statement does it: one update by primary key. Only where it matches
//! nothing, a second one finds out why and does what has to be done then. A verdict of reuse, which
//! ends a session, is asked for once more before it is carried out: a statement that was stuck in a
//! paused server, or behind a lock, may be executed long after its caller has given up and gone on
//! with a newer token, and must not end a session then.

use std::time::Duration;

use diesel::data_types::{PgInterval, PgTimestamp};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{LostAnswer, Rotation, Session};
use mintgate_domain::ports::{Clock, RotateOutcome, StoreError};

use crate::error::Failure;
use crate::pool::Statement;
use crate::session_row::{SessionRow, session_columns, unreadable};
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

/// The successor takes the place of the current token, which becomes the previous one.
///
/// - No column that is assigned is in an index, so that Postgres leaves the indexes alone.
/// - A concurrent write to the row is waited for, and the conditions are checked again on the
///   row as it has become; it is then, too, that the clock is read.
/// - `IS NOT DISTINCT FROM` keeps the planner from the index on `user_id`.
const EXCHANGE: &str = concat!(
    "UPDATE sessions AS s
    SET gen = s.gen + 1, cur_hash = $successor, cur_kid = $key_id, cur_iat = $issued_at,
        cur_exp = $expires_at, prev_hash = s.cur_hash, prev_replays = 0,
        rotated_at = clock_timestamp(), last_used_at = $now, roles = COALESCE($roles, s.roles)
    WHERE s.id = $session AND s.user_id IS NOT DISTINCT FROM $user
        AND s.gen = $predecessor AND s.cur_hash = $presented
        AND s.revoked_at IS NULL AND s.cur_exp > $now
        AND LEAST(s.absolute_expires_at, $idle_limit) = $expires_at
        AND EXISTS (SELECT FROM users WHERE id = $user AND disabled_at IS NULL)
    RETURNING ",
    session_columns!("s")
);

/// Judges the session, acts, and returns the verdict with the session as it is then.
///
/// - `locked` waits for whoever writes to the row, and gives the row as it is once it is ours:
///   its latest version, whatever the statement's snapshot holds.
/// - `judged` decides by that row alone. It is apart from `locked` because what a locking
///   query computes, it may compute before it waits; the clock must be read afterwards.
/// - One of the three updates follows, if any. Where the snapshot holds an older version of the
///   row than the one that was locked, Postgres goes on to that one by itself and joins it to
///   `judged` again: nobody can have changed it in between.
const JUDGE: &str = concat!(
    "WITH locked AS MATERIALIZED (
        SELECT ",
    session_columns!("s"),
    " FROM sessions AS s
        WHERE s.id = $session AND s.user_id IS NOT DISTINCT FROM $user
        FOR NO KEY UPDATE
    ), fitted AS (
        SELECT l.*, l.gen = $predecessor
            AND LEAST(l.absolute_expires_at, $idle_limit) = $expires_at AS fits
        FROM locked AS l
    ), judged AS MATERIALIZED (
        SELECT f.*, CASE
            WHEN f.revoked_at IS NOT NULL THEN 'revoked'
            WHEN EXISTS (SELECT FROM users WHERE id = $user AND disabled_at IS NOT NULL)
                THEN 'user_disabled'
            WHEN f.cur_exp <= $now THEN 'expired'
            WHEN f.cur_hash = $presented THEN CASE WHEN f.fits THEN 'rotate' ELSE 'remint' END
            WHEN f.prev_hash = $presented THEN CASE
                WHEN clock_timestamp() - f.rotated_at < $window
                    AND (f.prev_replays < $limit OR NOT $counted) THEN 'replay'
                WHEN NOT $until_used THEN 'reuse'
                WHEN f.fits THEN 'supersede'
                ELSE 'remint' END
            WHEN $generation >= f.gen THEN 'ahead'
            ELSE 'reuse' END AS verdict
        FROM fitted AS f
    ), renewed AS (
        UPDATE sessions AS s
        SET gen = s.gen + 1, cur_hash = $successor, cur_kid = $key_id, cur_iat = $issued_at,
            cur_exp = $expires_at, prev_hash = $presented, prev_replays = 0,
            rotated_at = clock_timestamp(), last_used_at = $now,
            roles = COALESCE($roles, s.roles)
        FROM judged AS j WHERE s.id = j.id AND j.verdict IN ('rotate', 'supersede')
        RETURNING ",
    session_columns!("s"),
    "), counted AS (
        UPDATE sessions AS s SET prev_replays = LEAST(s.prev_replays + 1, 32767)
        FROM judged AS j WHERE s.id = j.id AND j.verdict = 'replay' AND $counted
        RETURNING ",
    session_columns!("s"),
    "), ended AS (
        UPDATE sessions AS s SET revoked_at = $now, revoke_reason = j.verdict
        FROM judged AS j WHERE s.id = j.id
            AND (j.verdict = 'user_disabled' OR j.verdict = 'reuse' AND $confirmed)
        RETURNING ",
    session_columns!("s"),
    "), unchanged AS (
        SELECT ",
    session_columns!("j"),
    " FROM judged AS j
        WHERE j.verdict IN ('revoked', 'expired', 'remint', 'ahead')
            OR j.verdict = 'replay' AND NOT $counted OR j.verdict = 'reuse' AND NOT $confirmed
    ), result AS (
        SELECT * FROM renewed UNION ALL SELECT * FROM counted
        UNION ALL SELECT * FROM ended UNION ALL SELECT * FROM unchanged
    )
    SELECT j.verdict, ",
    session_columns!("r"),
    " FROM judged AS j JOIN result AS r ON r.id = j.id"
);

/// The statements of a rotation. Of a call that is repeated because its answer was lost, the
/// second attempt answers what the first one did with `Replayed`, or with `Revoked`.
pub(crate) struct Rotate<'a> {
    rotation: &'a Rotation,
    /// The generation that the successor follows; none a session has if there is no such.
    predecessor: i64,
    /// The generation that was presented.
    generation: i64,
    issued_at: PgTimestamp,
    expires_at: PgTimestamp,
    idle_limit: PgTimestamp,
    now: PgTimestamp,
    clock: &'a dyn Clock,
    /// When the call began; monotonic.
    started: Duration,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct JudgedRow {
    #[diesel(sql_type = Text)]
    verdict: String,
    #[diesel(embed)]
    session: SessionRow,
}

impl<'a> Rotate<'a> {
    /// A call that begins now.
    pub(crate) fn new(rotation: &'a Rotation, clock: &'a dyn Clock) -> Result<Self, StoreError> {
        let successor = &rotation.successor;
        Ok(Self {
            rotation,
            predecessor: i64::try_from(successor.generation).map_or(-1, |number| number - 1),
            generation: i64::try_from(rotation.presented.generation).unwrap_or(i64::MAX),
            issued_at: to_postgres(successor.issued_at, "cur_iat")?,
            expires_at: to_postgres(successor.expires_at, "cur_exp")?,
            idle_limit: to_postgres(rotation.idle_expires_at, "cur_exp")?,
            now: to_postgres(rotation.now, "now")?,
            clock,
            started: clock.monotonic(),
        })
    }

    /// The window in which a replay is answered, longer by the time this call has waited so far for
    /// a connection or for the server: what counts is when the token came.
    fn window(&self) -> PgInterval {
        let waited = self.clock.monotonic().saturating_sub(self.started);
        let window = (self.rotation.replay.window + waited).as_micros();
        PgInterval::from_microseconds(i64::try_from(window).unwrap_or(i64::MAX))
    }

    fn sql(&self, text: &'static str, confirmed: bool) -> Sql<'_> {
        let Rotation { session, user, presented, successor, roles, replay, .. } = self.rotation;
        let values = [
            ("session", Value::Uuid(session.as_uuid())),
            ("user", Value::Uuid(user.as_uuid())),
            ("presented", Value::Bytes(presented.hash.as_bytes())),
            ("generation", Value::BigInt(self.generation)),
            ("predecessor", Value::BigInt(self.predecessor)),
            ("successor", Value::Bytes(successor.hash.as_bytes())),
            ("key_id", Value::Text(successor.key_id.as_str())),
            ("issued_at", Value::At(self.issued_at)),
            ("expires_at", Value::At(self.expires_at)),
            ("idle_limit", Value::At(self.idle_limit)),
            ("now", Value::At(self.now)),
            ("roles", Value::roles(roles.as_deref())),
            ("window", Value::Span(self.window())),
            ("limit", Value::Integer(replay.limit.into())),
            ("counted", Value::Bool(replay.counted)),
            ("confirmed", Value::Bool(confirmed)),
            ("until_used", Value::Bool(replay.lost_answer == LostAnswer::UntilUsed)),
        ];
        Sql::new(text, values)
    }
}

impl Statement for Rotate<'_> {
    type Output = RotateOutcome;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<RotateOutcome, Failure> {
        let exchanged = self.sql(EXCHANGE, false).row::<SessionRow>(connection).await?;
        if let Some(row) = exchanged {
            return Ok(RotateOutcome::Rotated(Box::new(row.try_into()?)));
        }
        match self.judge(connection, false).await? {
            // Whoever asks is still here, so this is no statement that was stuck somewhere.
            RotateOutcome::Reused => self.judge(connection, true).await,
            outcome => Ok(outcome),
        }
    }
}

impl Rotate<'_> {
    async fn judge(
        &self,
        connection: &mut AsyncPgConnection,
        confirmed: bool,
    ) -> Result<RotateOutcome, Failure> {
        let judged = self.sql(JUDGE, confirmed).row::<JudgedRow>(connection).await?;
        judged.map_or(Ok(RotateOutcome::Unknown), |row| Ok(row.try_into()?))
    }
}

impl TryFrom<JudgedRow> for RotateOutcome {
    type Error = StoreError;

    fn try_from(row: JudgedRow) -> Result<Self, StoreError> {
        let session = Session::try_from(row.session)?;
        Ok(match row.verdict.as_str() {
            "rotate" | "supersede" => Self::Rotated(Box::new(session)),
            "replay" => Self::Replayed(Box::new(session)),
            "remint" => Self::Remint(Box::new(session)),
            "reuse" => Self::Reused,
            "user_disabled" => Self::UserDisabled,
            "expired" => Self::Expired,
            "ahead" => Self::Ahead,
            _ => Self::Revoked(session.end.ok_or_else(|| unreadable("revoked_at"))?.reason),
        })
    }
}
