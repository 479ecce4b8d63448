//! Reads the ring of signing keys.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse};
use mintgate_domain::ports::StoreError;

use crate::error::Failure;
use crate::pool::Statement;
use crate::session_row::unreadable;
use crate::sql::Sql;
use crate::time::from_postgres;

const TEXT: &str = "SELECT key_use, number, kid, material, created_at, activates_at
    FROM signing_keys ORDER BY key_use, number";

/// Every record, by use and number.
pub(crate) struct ListKeys;

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct KeyRow {
    #[diesel(sql_type = Text)]
    key_use: String,
    #[diesel(sql_type = Integer)]
    number: i32,
    #[diesel(sql_type = Text)]
    kid: String,
    #[diesel(sql_type = Text)]
    material: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: PgTimestamp,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    activates_at: Option<PgTimestamp>,
}

impl TryFrom<KeyRow> for KeyRecord {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        // Wrapped before anything can fail.
        let material = SecretText::new(row.material);
        let activates_at = row.activates_at.map(|at| from_postgres(at, "activates_at"));
        Ok(Self {
            key_use: KeyUse::from_name(&row.key_use).ok_or_else(|| unreadable("key_use"))?,
            number: row.number.try_into().map_err(|_| unreadable("number"))?,
            id: KeyId::new(row.kid),
            material,
            created_at: from_postgres(row.created_at, "created_at")?,
            activates_at: activates_at.transpose()?,
        })
    }
}

impl Statement for ListKeys {
    type Output = Vec<KeyRecord>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Vec<KeyRecord>, Failure> {
        let rows: Vec<KeyRow> = Sql::new(TEXT, []).get_results(connection).await?;
        Ok(rows.into_iter().map(KeyRecord::try_from).collect::<Result<_, _>>()?)
    }
}
