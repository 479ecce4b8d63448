//! Ends a session.

use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{RevokeReason, SessionId, Timestamp, UserId};
use mintgate_domain::ports::EndOutcome;

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

/// The second part tells what the first one did not end: another's session from one that has
/// ended, be it while the first part waited for it.
const TEXT: &str = "WITH ended AS (
        UPDATE sessions SET revoked_at = $now, revoke_reason = $reason
        WHERE id = $session AND user_id IS NOT DISTINCT FROM $user AND revoked_at IS NULL
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM ended) AS ended,
        EXISTS (SELECT FROM sessions WHERE id = $session
            AND user_id IS NOT DISTINCT FROM $user) AS known";

/// Ends a session of this user. A call that is repeated because its answer was lost finds the
/// session ended before.
pub(crate) struct EndSession<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) user: &'a UserId,
    pub(crate) reason: RevokeReason,
    pub(crate) now: Timestamp,
}

#[derive(QueryableByName)]
struct EndedRow {
    #[diesel(sql_type = Bool)]
    ended: bool,
    #[diesel(sql_type = Bool)]
    known: bool,
}

impl Statement for EndSession<'_> {
    type Output = EndOutcome;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<EndOutcome, Failure> {
        let values = [
            ("session", Value::Uuid(self.session.as_uuid())),
            ("user", Value::Uuid(self.user.as_uuid())),
            ("reason", Value::Text(self.reason.name())),
            ("now", Value::At(to_postgres(self.now, "revoked_at")?)),
        ];
        let row: EndedRow = Sql::new(TEXT, values).answer(connection).await?;
        Ok(match row {
            EndedRow { ended: true, .. } => EndOutcome::Ended,
            EndedRow { known: true, .. } => EndOutcome::EndedBefore,
            EndedRow { .. } => EndOutcome::Unknown,
        })
    }
}
