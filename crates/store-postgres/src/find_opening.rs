//! Looks up which session a request with an idempotency key has opened.

use diesel::prelude::*;
use diesel::sql_types::Binary;
use diesel_async::AsyncPgConnection;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{IdempotencyKey, Session, Timestamp};

use crate::error::Failure;
use crate::pool::Statement;
use crate::session_row::{SessionRow, session_columns, token_hash};
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

const TEXT: &str = concat!(
    "SELECT k.body_hash, ",
    session_columns!("s"),
    " FROM idempotency_keys AS k JOIN sessions AS s ON s.id = k.session_id
    WHERE k.key_hash = $key AND k.expires_at > $now"
);

/// The request with this key, if it is still remembered, and its session.
pub(crate) struct FindOpening<'a> {
    pub(crate) key: &'a TokenHash,
    pub(crate) now: Timestamp,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct OpeningRow {
    #[diesel(sql_type = Binary)]
    body_hash: Vec<u8>,
    #[diesel(embed)]
    session: SessionRow,
}

impl Statement for FindOpening<'_> {
    type Output = Option<(IdempotencyKey, Session)>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Self::Output, Failure> {
        let values = [
            ("key", Value::Bytes(self.key.as_bytes())),
            ("now", Value::At(to_postgres(self.now, "now")?)),
        ];
        let row = Sql::new(TEXT, values).row::<OpeningRow>(connection).await?;
        let Some(row) = row else { return Ok(None) };
        let body = token_hash(&row.body_hash, "body_hash")?;
        Ok(Some((IdempotencyKey { key: *self.key, body }, row.session.try_into()?)))
    }
}
