//! Lists a user's live sessions.

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{Session, Timestamp, UserId};

use crate::error::Failure;
use crate::pool::Statement;
use crate::session_row::{SessionRow, session_columns};
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

const TEXT: &str = concat!(
    "SELECT ",
    session_columns!("s"),
    " FROM sessions AS s
    WHERE s.user_id = $user AND s.revoked_at IS NULL AND s.cur_exp > $now
    ORDER BY s.last_used_at DESC, s.id DESC LIMIT $limit"
);

/// The sessions of a user that are live, the last used first.
pub(crate) struct LiveSessions<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) now: Timestamp,
    pub(crate) limit: u32,
}

impl Statement for LiveSessions<'_> {
    type Output = Vec<Session>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Vec<Session>, Failure> {
        let values = [
            ("user", Value::Uuid(self.user.as_uuid())),
            ("now", Value::At(to_postgres(self.now, "now")?)),
            ("limit", Value::BigInt(self.limit.into())),
        ];
        let rows: Vec<SessionRow> = Sql::new(TEXT, values).get_results(connection).await?;
        Ok(rows.into_iter().map(Session::try_from).collect::<Result<_, _>>()?)
    }
}
