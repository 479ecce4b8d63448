//! Looks a user up by an external identity.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{ExternalIdentity, User, UserId};
use mintgate_domain::ports::StoreError;
use uuid::Uuid;

use crate::error::Failure;
use crate::pool::Statement;
use crate::schema::{external_identities, users};
use crate::session_row::roles;
use crate::time::from_postgres;

/// The user with this identity.
pub(crate) struct FindUser<'a>(pub(crate) &'a ExternalIdentity);

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct UserRow {
    id: Uuid,
    granted_roles: Vec<Option<String>>,
    disabled_at: Option<PgTimestamp>,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        user(row.id, row.granted_roles, row.disabled_at)
    }
}

/// A user, as the columns of `users` have one.
pub(crate) fn user(
    id: Uuid,
    granted_roles: Vec<Option<String>>,
    disabled_at: Option<PgTimestamp>,
) -> Result<User, StoreError> {
    Ok(User {
        id: UserId::from_uuid(id),
        disabled_at: disabled_at.map(|at| from_postgres(at, "disabled_at")).transpose()?,
        granted_roles: roles(granted_roles, "granted_roles")?,
    })
}

impl Statement for FindUser<'_> {
    type Output = Option<User>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Option<User>, Failure> {
        let row = external_identities::table
            .inner_join(users::table)
            .filter(external_identities::issuer.eq(&self.0.issuer))
            .filter(external_identities::subject.eq(&self.0.subject))
            .select(UserRow::as_select())
            .first(connection)
            .await
            .optional()?;
        Ok(row.map(User::try_from).transpose()?)
    }
}
