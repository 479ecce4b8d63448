//! Has a signing key sign from a moment on.

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{KeyId, KeyUse, Timestamp};

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

const TEXT: &str = "UPDATE signing_keys SET activates_at = $at
    WHERE key_use = $key_use AND kid = $key AND (activates_at IS NULL OR activates_at > $at)";

/// Has a key sign from `at` on, unless it does so anyway.
pub(crate) struct ActivateKey<'a> {
    pub(crate) key_use: KeyUse,
    pub(crate) id: &'a KeyId,
    pub(crate) at: Timestamp,
}

impl Statement for ActivateKey<'_> {
    type Output = bool;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<bool, Failure> {
        let values = [
            ("key_use", Value::Text(self.key_use.name())),
            ("key", Value::Text(self.id.as_str())),
            ("at", Value::At(to_postgres(self.at, "activates_at")?)),
        ];
        Ok(Sql::new(TEXT, values).execute(connection).await? == 1)
    }
}
