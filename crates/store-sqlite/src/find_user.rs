//! Looks a user up by an external identity, and whether one may do anything.

use diesel::dsl::exists;
use diesel::prelude::*;
use mintgate_domain::model::{ExternalIdentity, Role, Timestamp, User, UserId};
use mintgate_domain::ports::StoreError;
use uuid::Uuid;

use crate::error::store_error;
use crate::json;
use crate::schema::{external_identities, users};

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct UserRow {
    id: Vec<u8>,
    granted_roles: String,
    disabled_at: Option<i64>,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        let id = Uuid::from_slice(&row.id)
            .map_err(|_| StoreError::Corrupt("id is not a UUID".into()))?;
        let granted_roles = json::read_texts(&row.granted_roles)
            .ok_or_else(|| StoreError::Corrupt("granted_roles is not a list of texts".into()))?;
        Ok(Self {
            id: UserId::from_uuid(id),
            disabled_at: row.disabled_at.map(Timestamp::from_unix),
            granted_roles: granted_roles.into_iter().map(Role::new).collect(),
        })
    }
}

pub(crate) fn find_user(
    connection: &mut SqliteConnection,
    identity: &ExternalIdentity,
) -> Result<Option<User>, StoreError> {
    let row = external_identities::table
        .inner_join(users::table)
        .filter(external_identities::issuer.eq(&identity.issuer))
        .filter(external_identities::subject.eq(&identity.subject))
        .select(UserRow::as_select())
        .first(connection)
        .optional();
    row.map_err(|e| store_error(&e))?.map(User::try_from).transpose()
}

/// Whether there is such a user, and no operator has disabled it.
pub(crate) fn is_enabled(connection: &mut SqliteConnection, user: UserId) -> QueryResult<bool> {
    let id = user.as_uuid().as_bytes().as_slice();
    let enabled = users::table.find(id).filter(users::disabled_at.is_null());
    diesel::select(exists(enabled)).get_result(connection)
}
