//! Takes the duty of asking a session's provider again.

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{SealedToken, SessionId, Timestamp};

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::{bound, to_postgres};

const TEXT: &str = "UPDATE upstream_tokens SET claimed_until = $lease
    WHERE session_id = $session AND asked_at <= $due
        AND (claimed_until IS NULL OR claimed_until <= $now)
    RETURNING sealed";

/// The provider's refresh token, if asking is due and nobody else is doing so. A call that is
/// repeated because its answer was lost finds that somebody is: itself. It is asked after the lease
/// then.
pub(crate) struct ClaimUpstream<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) due: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) lease: Timestamp,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct SealedRow {
    #[diesel(sql_type = Text)]
    sealed: String,
}

impl Statement for ClaimUpstream<'_> {
    type Output = Option<SealedToken>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Self::Output, Failure> {
        let values = [
            ("session", Value::Uuid(self.session.as_uuid())),
            ("due", Value::At(bound(self.due))),
            ("now", Value::At(bound(self.now))),
            ("lease", Value::At(to_postgres(self.lease, "claimed_until")?)),
        ];
        let row = Sql::new(TEXT, values).row::<SealedRow>(connection).await?;
        Ok(row.map(|row| SealedToken(row.sealed)))
    }
}
