//! Takes an identity away from a user.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{ExternalIdentity, RevokeReason, SessionId, Timestamp, UserId};
use mintgate_domain::ports::UnlinkOutcome;

use crate::attempts::{Attempt, Attempts};
use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

/// - `own` locks all the identities of the user, in one order for everybody. Who has waited there
///   for another that took one away does not get that one, whatever the statement's snapshot
///   holds: so what is counted is what is left, and the last one stays. (A lock of the user's row
///   would not do in one statement: what is read behind it is still as it was before the wait.)
/// - An identity that is being linked meanwhile is not seen: the count may be too low, not too high.
/// - The sessions are locked in the order of their ids, as wherever several are ended.
/// - `ended_before` is what this very call has ended if it is repeated.
const TEXT: &str = "WITH own AS MATERIALIZED (
        SELECT issuer, subject, issuer = $issuer AND subject = $subject AS named
        FROM external_identities WHERE user_id = $user
        ORDER BY issuer, subject FOR UPDATE
    ), gone AS (
        DELETE FROM external_identities AS i USING own
        WHERE i.issuer = own.issuer AND i.subject = own.subject AND own.named
            AND (SELECT count(*) FROM own) > 1
        RETURNING i.issuer
    ), live AS MATERIALIZED (
        SELECT s.id FROM sessions AS s
        WHERE EXISTS (SELECT FROM gone) AND s.user_id = $user AND s.id <> $keep
            AND s.issuer = $issuer AND s.subject = $subject
            AND s.revoked_at IS NULL AND s.cur_exp > $now
        ORDER BY s.id FOR NO KEY UPDATE
    ), ended AS (
        UPDATE sessions AS s SET revoked_at = $now, revoke_reason = $reason
        FROM live WHERE s.id = live.id
        RETURNING s.id
    )
    SELECT EXISTS (SELECT FROM own WHERE named) AS known, EXISTS (SELECT FROM gone) AS unlinked,
        (SELECT count(*) FROM ended) AS ended,
        (SELECT count(*) FROM sessions AS s
            WHERE NOT EXISTS (SELECT FROM own WHERE named) AND s.user_id = $user
                AND s.issuer = $issuer AND s.subject = $subject
                AND s.revoked_at = $now AND s.revoke_reason = $reason) AS ended_before";

/// A sign-in with the identity may have been committing while the identity was waited for, and its
/// session is not in the snapshot of the first statement. It is in this one's; and none can follow,
/// as a sign-in needs the identity.
const OPENED_MEANWHILE: &str = "WITH live AS MATERIALIZED (
        SELECT s.id FROM sessions AS s
        WHERE s.user_id = $user AND s.id <> $keep
            AND s.issuer = $issuer AND s.subject = $subject
            AND s.revoked_at IS NULL AND s.cur_exp > $now
            AND NOT EXISTS (SELECT FROM external_identities AS i
                WHERE i.issuer = $issuer AND i.subject = $subject)
        ORDER BY s.id FOR NO KEY UPDATE
    ), ended AS (
        UPDATE sessions AS s SET revoked_at = $now, revoke_reason = $reason
        FROM live WHERE s.id = live.id
        RETURNING s.id
    )
    SELECT count(*) AS ended FROM ended";

/// Takes an identity away from a user, if it is not the last, and ends the sessions that were
/// opened with it. A call that is repeated because its answer was lost knows by the sessions it has
/// ended that it was its own doing; where it has ended none, the identity is unknown to it.
pub(crate) struct UnlinkIdentity<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) identity: &'a ExternalIdentity,
    /// This session goes on.
    pub(crate) keep: &'a SessionId,
    pub(crate) reason: RevokeReason,
    pub(crate) now: Timestamp,
    pub(crate) attempts: Attempts,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct UnlinkedRow {
    #[diesel(sql_type = Bool)]
    known: bool,
    #[diesel(sql_type = Bool)]
    unlinked: bool,
    #[diesel(sql_type = BigInt)]
    ended: i64,
    #[diesel(sql_type = BigInt)]
    ended_before: i64,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct EndedRow {
    #[diesel(sql_type = BigInt)]
    ended: i64,
}

impl Statement for UnlinkIdentity<'_> {
    type Output = UnlinkOutcome;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<UnlinkOutcome, Failure> {
        let attempt = self.attempts.begin();
        let revoked_at = to_postgres(self.now, "revoked_at")?;
        let values = || {
            [
                ("user", Value::Uuid(self.user.as_uuid())),
                ("issuer", Value::Text(&self.identity.issuer)),
                ("subject", Value::Text(&self.identity.subject)),
                ("keep", Value::Uuid(self.keep.as_uuid())),
                ("reason", Value::Text(self.reason.name())),
                ("now", Value::At(revoked_at)),
            ]
        };
        let row: UnlinkedRow = Sql::new(TEXT, values()).answer(connection).await?;
        let ended = match row {
            UnlinkedRow { unlinked: true, ended, .. } => ended,
            UnlinkedRow { known: true, .. } => return Ok(UnlinkOutcome::Last),
            UnlinkedRow { ended_before: ended @ 1.., .. } if attempt == Attempt::Repeated => ended,
            UnlinkedRow { .. } => return Ok(UnlinkOutcome::Unknown),
        };
        let meanwhile: EndedRow = Sql::new(OPENED_MEANWHILE, values()).answer(connection).await?;
        Ok(UnlinkOutcome::Unlinked { ended: (ended + meanwhile.ended).unsigned_abs() })
    }
}
