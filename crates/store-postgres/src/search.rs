//! Finding people.

use std::collections::HashMap;

use diesel::data_types::PgTimestamp;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{
    Account, ExternalIdentity, FormerId, LinkedIdentity, ProviderId, SearchText, UserId,
};

use crate::error::{Failure, RowName};
use crate::people_import::of_users;
use crate::schema::{external_identities, users};
use crate::users::UserRow;

/// The text stands in the profile, in the subject of an identity, or in a former id: these subselects are
/// carried out once. The columns have the collation "C", so that bytes are compared, and `lower` knows ASCII alone.
const IN_PROFILE: &str = "(strpos(users.searched, ";
const IN_SUBJECT: &str = ") > 0 OR users.id IN (SELECT e.user_id FROM external_identities AS e \
    WHERE strpos(E'\\n' || lower(e.subject) || E'\\n', ";
const IN_FORMER_ID: &str = ") > 0) OR users.id IN (SELECT f.user_id FROM former_ids AS f \
    WHERE strpos(E'\\n' || lower(f.former_id) || E'\\n', ";

/// A user's row with the time at which it was made.
pub(crate) type CreatedUser = (UserRow, PgTimestamp);

/// The users behind `after` in the order of their ids, at most `limit`.
pub(crate) async fn find(
    connection: &mut AsyncPgConnection,
    search: Option<&SearchText>,
    after: Option<UserId>,
    limit: u32,
) -> Result<Vec<Account>, Failure> {
    // The nil id sorts before every other.
    let after = after.map(|id| *id.as_uuid()).unwrap_or_default();
    let mut query = users::table
        .filter(users::id.gt(after))
        .order(users::id)
        .limit(limit.into())
        .select((UserRow::as_select(), users::created_at))
        .into_boxed();
    if let Some(search) = search {
        let text = search.as_str();
        let condition = sql::<Bool>(IN_PROFILE).bind::<Text, _>(text);
        let condition = condition.sql(IN_SUBJECT).bind::<Text, _>(text);
        query = query.filter(condition.sql(IN_FORMER_ID).bind::<Text, _>(text).sql(") > 0))"));
    }
    let rows = query.load(connection).await?;
    accounts(connection, rows).await
}

/// The accounts of users, in the same order.
pub(crate) async fn accounts(
    connection: &mut AsyncPgConnection,
    rows: Vec<CreatedUser>,
) -> Result<Vec<Account>, Failure> {
    use external_identities as linked;
    let mut accounts = vec![];
    for (row, created_at) in rows {
        let user = row.user()?;
        let name = RowName { table: "users", id: user.id.as_uuid() };
        let created_at = name.time("created_at", created_at)?;
        accounts.push(Account { user, created_at, identities: vec![], former_ids: vec![] });
    }
    let ids: Vec<_> = accounts.iter().map(|account| *account.user.id.as_uuid()).collect();
    let rows: Vec<(uuid::Uuid, String, String, String, PgTimestamp)> = linked::table
        .filter(linked::user_id.eq_any(&ids))
        .order((linked::created_at, linked::issuer, linked::subject))
        .select((
            linked::user_id,
            linked::issuer,
            linked::subject,
            linked::provider,
            linked::created_at,
        ))
        .load(connection)
        .await?;
    let mut by_user: HashMap<uuid::Uuid, Vec<LinkedIdentity>> = HashMap::new();
    for (user, issuer, subject, provider, linked_at) in rows {
        let row = RowName { table: "external_identities", id: &user };
        let linked_at = row.time("created_at", linked_at)?;
        let identity = ExternalIdentity { issuer, subject };
        let provider = ProviderId::new(provider);
        by_user.entry(user).or_default().push(LinkedIdentity { identity, provider, linked_at });
    }
    let mut former: HashMap<uuid::Uuid, Vec<FormerId>> = HashMap::new();
    for (user, id) in of_users(connection, &ids).await? {
        former.entry(user).or_default().push(id);
    }
    for account in &mut accounts {
        account.former_ids = former.remove(account.user.id.as_uuid()).unwrap_or_default();
        account.identities = by_user.remove(account.user.id.as_uuid()).unwrap_or_default();
    }
    Ok(accounts)
}
