//! Reads a session.

use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{Session, SessionId};

use crate::error::Failure;
use crate::pool::Statement;
use crate::session_row::{SessionRow, session_columns};
use crate::sql::{Sql, Value};

const TEXT: &str =
    concat!("SELECT ", session_columns!("s"), " FROM sessions AS s WHERE s.id = $session");

/// The session of this id, ended or not.
pub(crate) struct FindSession<'a>(pub(crate) &'a SessionId);

impl Statement for FindSession<'_> {
    type Output = Option<Session>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Option<Session>, Failure> {
        let sql = Sql::new(TEXT, [("session", Value::Uuid(self.0.as_uuid()))]);
        let row = sql.row::<SessionRow>(connection).await?;
        Ok(row.map(Session::try_from).transpose()?)
    }
}
