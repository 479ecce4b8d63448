//! Reads a session together with the user it is of.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz};
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{Session, SessionId, User};

use crate::error::Failure;
use crate::find_user::user;
use crate::pool::Statement;
use crate::session_row::{SessionRow, session_columns};
use crate::sql::{Sql, Value};

const TEXT: &str = concat!(
    "SELECT u.granted_roles, u.disabled_at, ",
    session_columns!("s"),
    " FROM sessions AS s JOIN users AS u ON u.id = s.user_id WHERE s.id = $session"
);

/// The session of this id, ended or not, and its user, disabled or not.
pub(crate) struct FindSessionAndUser<'a>(pub(crate) &'a SessionId);

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct SessionAndUserRow {
    #[diesel(sql_type = Array<Nullable<Text>>)]
    granted_roles: Vec<Option<String>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    disabled_at: Option<PgTimestamp>,
    #[diesel(embed)]
    session: SessionRow,
}

impl Statement for FindSessionAndUser<'_> {
    type Output = Option<(Session, User)>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Self::Output, Failure> {
        let sql = Sql::new(TEXT, [("session", Value::Uuid(self.0.as_uuid()))]);
        let Some(row) = sql.row::<SessionAndUserRow>(connection).await? else { return Ok(None) };
        let session = Session::try_from(row.session)?;
        let user = user(*session.user.as_uuid(), row.granted_roles, row.disabled_at)?;
        Ok(Some((session, user)))
    }
}
