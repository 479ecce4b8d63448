//! Ends the sessions that a provider's logout order is about.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{RevokeReason, Timestamp};
use mintgate_domain::ports::{LogoutOrder, ProviderLogoutOutcome};

use crate::attempts::{Attempt, Attempts};
use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

/// One text for each index that finds the sessions.
///
/// - Of several that bring the same order at once, one writes the `mark`; the others wait for it,
///   and write nothing.
/// - The sessions are locked in the order of their ids, as wherever several are ended.
/// - `ended_before` is what this very call has ended if it is repeated.
macro_rules! text {
    ($named:literal) => {
        concat!(
            "WITH mark AS (
                INSERT INTO single_use_marks (hash, expires_at) VALUES ($mark, $mark_until)
                ON CONFLICT DO NOTHING
                RETURNING hash
            ), live AS MATERIALIZED (
                SELECT s.id FROM sessions AS s
                WHERE EXISTS (SELECT FROM mark) AND ",
            $named,
            " AND s.issuer = $issuer AND s.revoked_at IS NULL AND s.cur_exp > $now
                ORDER BY s.id FOR NO KEY UPDATE
            ), ended AS (
                UPDATE sessions AS s SET revoked_at = $now, revoke_reason = $reason
                FROM live WHERE s.id = live.id
                RETURNING s.id
            )
            SELECT EXISTS (SELECT FROM mark) AS is_new, (SELECT count(*) FROM ended) AS ended,
                (SELECT count(*) FROM sessions AS s
                    WHERE NOT EXISTS (SELECT FROM mark) AND ",
            $named,
            " AND s.issuer = $issuer AND s.revoked_at = $now AND s.revoke_reason = $reason
                ) AS ended_before"
        )
    };
}

const OF_SUBJECT: &str = text!("s.subject = $subject");
const OF_SESSION: &str = text!("s.upstream_sid = $sid");
/// Also for an order that names neither: nothing equals NULL.
const OF_BOTH: &str = text!(
    "s.subject = $subject AND (s.upstream_sid = $sid OR s.upstream_sid IS NULL AND $sid IS NOT NULL)"
);

/// Carries an order out, once. A call that is repeated because its answer was lost knows by the
/// sessions it has ended that it was its own doing; where it has ended none, it finds the order
/// carried out before.
pub(crate) struct EndProviderSessions<'a> {
    pub(crate) order: &'a LogoutOrder,
    pub(crate) now: Timestamp,
    pub(crate) attempts: Attempts,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct EndedRow {
    #[diesel(sql_type = Bool)]
    is_new: bool,
    #[diesel(sql_type = BigInt)]
    ended: i64,
    #[diesel(sql_type = BigInt)]
    ended_before: i64,
}

impl Statement for EndProviderSessions<'_> {
    type Output = ProviderLogoutOutcome;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Self::Output, Failure> {
        let attempt = self.attempts.begin();
        let order = self.order;
        let text = match (&order.subject, &order.session) {
            (Some(_), None) => OF_SUBJECT,
            (None, Some(_)) => OF_SESSION,
            (Some(_), Some(_)) | (None, None) => OF_BOTH,
        };
        let values = [
            ("mark", Value::Bytes(order.id.as_bytes())),
            ("mark_until", Value::At(to_postgres(order.expires_at, "expires_at")?)),
            ("issuer", Value::Text(&order.issuer)),
            ("subject", Value::MaybeText(order.subject.as_deref())),
            ("sid", Value::MaybeText(order.session.as_deref())),
            ("reason", Value::Text(RevokeReason::ProviderLogout.name())),
            ("now", Value::At(to_postgres(self.now, "revoked_at")?)),
        ];
        let row: EndedRow = Sql::new(text, values).answer(connection).await?;
        Ok(match row {
            EndedRow { is_new: true, ended, .. } => {
                ProviderLogoutOutcome::Ended(ended.unsigned_abs())
            }
            EndedRow { ended_before: ended @ 1.., .. } if attempt == Attempt::Repeated => {
                ProviderLogoutOutcome::Ended(ended.unsigned_abs())
            }
            EndedRow { .. } => ProviderLogoutOutcome::Replayed,
        })
    }
}
