//! Removes a signing key from the ring.

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{KeyId, KeyUse};

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};

const TEXT: &str = "DELETE FROM signing_keys WHERE key_use = $key_use AND kid = $key";

/// Removes a key, its private part included.
pub(crate) struct RemoveKey<'a> {
    pub(crate) key_use: KeyUse,
    pub(crate) id: &'a KeyId,
}

impl Statement for RemoveKey<'_> {
    type Output = bool;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<bool, Failure> {
        let values =
            [("key_use", Value::Text(self.key_use.name())), ("key", Value::Text(self.id.as_str()))];
        Ok(Sql::new(TEXT, values).execute(connection).await? == 1)
    }
}
