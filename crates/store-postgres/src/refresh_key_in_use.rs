//! Asks whether a key has signed a refresh token that is still good.

use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{KeyId, Timestamp};

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Answer, Sql, Value};
use crate::time::to_postgres;

/// Reads the whole table: an index on the key would cost every rotation a write.
const TEXT: &str = "SELECT EXISTS (
        SELECT FROM sessions WHERE cur_kid = $key AND revoked_at IS NULL AND cur_exp > $now
    ) AS answer";

/// Whether the current token of any live session is signed with this key.
pub(crate) struct RefreshKeyInUse<'a> {
    pub(crate) id: &'a KeyId,
    pub(crate) now: Timestamp,
}

impl Statement for RefreshKeyInUse<'_> {
    type Output = bool;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<bool, Failure> {
        let values = [
            ("key", Value::Text(self.id.as_str())),
            ("now", Value::At(to_postgres(self.now, "now")?)),
        ];
        let found: Answer = Sql::new(TEXT, values).answer(connection).await?;
        Ok(found.answer)
    }
}
