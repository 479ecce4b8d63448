//! Finding people: a search reads every user, so it has a connection and a time limit of its own.

use std::collections::HashMap;
use std::time::Duration;

use diesel::dsl::exists;
use diesel::expression::BoxableExpression;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel::sqlite::Sqlite;
use mintgate_domain::model::{Account, FormerId, LinkedIdentity, SearchText, Timestamp};
use mintgate_domain::ports::StoreError;

use crate::error::Failure;
use crate::people_import::of_users;
use crate::schema::{external_identities, former_ids, users};
use crate::users::{IdentityRow, UserRow};

/// The longest that a search may take.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How many users one statement looks at. Between two, the time is looked at; and a statement that takes
/// long would keep SQLite from shortening its log.
const STEP: i64 = 2000;

#[diesel::declare_sql_function]
extern "SQL" {
    /// Where a text stands in another, counted from 1; 0 if it does not.
    fn instr(text: Nullable<Text>, part: Text) -> Nullable<BigInt>;

    /// The text with its ASCII letters as small ones.
    fn lower(text: Text) -> Text;
}

type Condition<'a> =
    Box<dyn BoxableExpression<users::table, Sqlite, SqlType = Nullable<Bool>> + 'a>;

/// A user's row with the time at which it was made.
pub(crate) type CreatedUser = (UserRow, i64);

/// The users behind `after` in the order of their ids, at most `limit`.
pub(crate) fn find(
    connection: &mut SqliteConnection,
    search: Option<&SearchText>,
    mut after: Vec<u8>,
    limit: i64,
    is_late: impl Fn() -> bool,
) -> Result<Vec<Account>, Failure> {
    let mut found: Vec<CreatedUser> = vec![];
    loop {
        if is_late() {
            let text = "the search has taken longer than 5 seconds; look for a rarer text";
            return Err(StoreError::Unavailable(text.into()).into());
        }
        let behind = users::table.filter(users::id.gt(&after)).order(users::id);
        let last: Option<Vec<u8>> =
            behind.select(users::id).offset(STEP - 1).get_result(connection).optional()?;
        let left = limit - i64::try_from(found.len()).unwrap_or(i64::MAX);
        let mut step =
            behind.select((UserRow::as_select(), users::created_at)).limit(left).into_boxed();
        if let Some(last) = &last {
            step = step.filter(users::id.le(last));
        }
        if let Some(search) = search {
            step = step.filter(has(search.as_str()));
        }
        found.extend(step.load::<CreatedUser>(connection)?);
        let is_full = i64::try_from(found.len()).is_ok_and(|found| found >= limit);
        match last {
            Some(last) if !is_full => after = last,
            _ => return accounts(connection, found),
        }
    }
}

/// The text stands in the profile, in the subject of an identity, or in a former id.
fn has(text: &str) -> Condition<'_> {
    let subject = "\n".into_sql::<Text>().concat(lower(external_identities::subject)).concat("\n");
    let identity = external_identities::table
        .filter(external_identities::user_id.eq(users::id))
        .filter(instr(subject.nullable(), text).gt(0));
    let former = "\n".into_sql::<Text>().concat(lower(former_ids::former_id)).concat("\n");
    let former_id = former_ids::table
        .filter(former_ids::user_id.eq(users::id))
        .filter(instr(former.nullable(), text).gt(0));
    let elsewhere = exists(identity).or(exists(former_id));
    Box::new(instr(users::searched, text).gt(0).or(elsewhere.nullable()))
}

/// The accounts of users, in the same order.
pub(crate) fn accounts(
    connection: &mut SqliteConnection,
    rows: Vec<CreatedUser>,
) -> Result<Vec<Account>, Failure> {
    let mut accounts = vec![];
    for (row, created_at) in rows {
        let user = row.user()?;
        let created_at = Timestamp::from_unix(created_at);
        accounts.push(Account { user, created_at, identities: vec![], former_ids: vec![] });
    }
    let ids: Vec<&[u8]> =
        accounts.iter().map(|account| account.user.id.as_uuid().as_bytes().as_slice()).collect();
    // Identities of the same second come in an order that is always the same.
    let linked: Vec<(Vec<u8>, IdentityRow)> = external_identities::table
        .filter(external_identities::user_id.eq_any(&ids))
        .order((
            external_identities::created_at,
            external_identities::issuer,
            external_identities::subject,
        ))
        .select((external_identities::user_id, IdentityRow::as_select()))
        .load(connection)?;
    let mut former: HashMap<Vec<u8>, Vec<FormerId>> = HashMap::new();
    for (user, id) in of_users(connection, &ids)? {
        former.entry(user).or_default().push(id);
    }
    let mut by_user: HashMap<Vec<u8>, Vec<LinkedIdentity>> = HashMap::new();
    for (user, identity) in linked {
        by_user.entry(user).or_default().push(identity.into());
    }
    for account in &mut accounts {
        let id = account.user.id.as_uuid().as_bytes().as_slice();
        account.former_ids = former.remove(id).unwrap_or_default();
        account.identities = by_user.remove(id).unwrap_or_default();
    }
    Ok(accounts)
}
