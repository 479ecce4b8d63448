//! Whether the database can be written.

use diesel::dsl::sql;
use diesel::sql_types::{Bool, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::ports::StoreError;

use crate::error::Failure;

/// A standby server, or one that an operator has set to read only.
const IS_READ_ONLY: &str = "current_setting('transaction_read_only')::bool";
/// What a sign-in and a refresh need. A right on some columns is enough.
const HAS_RIGHTS: &str = "(SELECT bool_and(has_any_column_privilege(name, needed)) \
    FROM unnest(ARRAY['users', 'external_identities', 'sessions']) AS name, \
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS needed)";

/// Requires that rows can be written, as far as that can be told without writing one.
pub(crate) async fn require_writable(connection: &mut AsyncPgConnection) -> Result<(), Failure> {
    let question = (sql::<Bool>(IS_READ_ONLY), sql::<Nullable<Bool>>(HAS_RIGHTS));
    let (is_read_only, has_rights): (bool, Option<bool>) =
        diesel::select(question).get_result(connection).await?;
    let reason = if is_read_only {
        "the database is read-only; connect to the primary server"
    } else if has_rights != Some(true) {
        "the role may not read and write users and sessions; grant it that"
    } else {
        return Ok(());
    };
    Err(Failure::Final(StoreError::Unavailable(reason.into())))
}
