//! Lists the identities a user is known by.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{ExternalIdentity, LinkedIdentity, ProviderId, UserId};
use mintgate_domain::ports::StoreError;

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::from_postgres;

const TEXT: &str = "SELECT issuer, subject, provider, created_at FROM external_identities
    WHERE user_id = $user ORDER BY created_at, issuer, subject";

/// The identities of a user, the oldest first.
pub(crate) struct Identities<'a>(pub(crate) &'a UserId);

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct IdentityRow {
    #[diesel(sql_type = Text)]
    issuer: String,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Text)]
    provider: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: PgTimestamp,
}

impl TryFrom<IdentityRow> for LinkedIdentity {
    type Error = StoreError;

    fn try_from(row: IdentityRow) -> Result<Self, StoreError> {
        Ok(Self {
            identity: ExternalIdentity { issuer: row.issuer, subject: row.subject },
            provider: ProviderId::new(row.provider),
            linked_at: from_postgres(row.created_at, "created_at")?,
        })
    }
}

impl Statement for Identities<'_> {
    type Output = Vec<LinkedIdentity>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Self::Output, Failure> {
        let values = [("user", Value::Uuid(self.0.as_uuid()))];
        let rows: Vec<IdentityRow> = Sql::new(TEXT, values).get_results(connection).await?;
        Ok(rows.into_iter().map(LinkedIdentity::try_from).collect::<Result<_, _>>()?)
    }
}
