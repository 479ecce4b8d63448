//! Lists the identities of a user.

use diesel::prelude::*;
use mintgate_domain::model::{ExternalIdentity, LinkedIdentity, ProviderId, Timestamp, UserId};
use mintgate_domain::ports::StoreError;

use crate::error::store_error;
use crate::schema::external_identities;

#[derive(Queryable, Selectable)]
#[diesel(table_name = external_identities)]
struct IdentityRow {
    issuer: String,
    subject: String,
    provider: String,
    created_at: i64,
}

impl From<IdentityRow> for LinkedIdentity {
    fn from(row: IdentityRow) -> Self {
        Self {
            identity: ExternalIdentity { issuer: row.issuer, subject: row.subject },
            provider: ProviderId::new(row.provider),
            linked_at: Timestamp::from_unix(row.created_at),
        }
    }
}

/// The oldest first; those of the same second in an order that is always the same.
pub(crate) fn identities(
    connection: &mut SqliteConnection,
    user: UserId,
) -> Result<Vec<LinkedIdentity>, StoreError> {
    let rows = external_identities::table
        .filter(external_identities::user_id.eq(user.as_uuid().as_bytes().as_slice()))
        .order((
            external_identities::created_at,
            external_identities::issuer,
            external_identities::subject,
        ))
        .select(IdentityRow::as_select())
        .load(connection)
        .map_err(|e| store_error(&e))?;
    Ok(rows.into_iter().map(LinkedIdentity::from).collect())
}
