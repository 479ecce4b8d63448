//! Ends all of a user's sessions.

use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{RevokeReason, Timestamp, UserId};

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Count, Sql, Value};
use crate::time::to_postgres;

/// The rows are locked in the order of their ids: two of these at once cannot wait for each
/// other.
const TEXT: &str = "WITH live AS MATERIALIZED (
        SELECT id FROM sessions
        WHERE user_id = $user AND revoked_at IS NULL AND cur_exp > $now
        ORDER BY id FOR NO KEY UPDATE
    ), ended AS (
        UPDATE sessions AS s SET revoked_at = $now, revoke_reason = $reason
        FROM live WHERE s.id = live.id
        RETURNING s.id
    )
    SELECT count(*) AS count FROM ended";

/// Ends all sessions of a user that are live; how many.
pub(crate) struct EndUserSessions<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) reason: RevokeReason,
    pub(crate) now: Timestamp,
}

impl Statement for EndUserSessions<'_> {
    type Output = u64;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<u64, Failure> {
        let values = [
            ("user", Value::Uuid(self.user.as_uuid())),
            ("reason", Value::Text(self.reason.name())),
            ("now", Value::At(to_postgres(self.now, "revoked_at")?)),
        ];
        let ended: Count = Sql::new(TEXT, values).answer(connection).await?;
        Ok(ended.into())
    }
}
