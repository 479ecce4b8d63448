//! Links an identity to a user, together with the mark of the sign-in that proved it.

use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::model::{NewIdentity, SingleUse, UserId};
use mintgate_domain::ports::{LinkOutcome, StoreError};

use crate::error::store_error;
use crate::find_user::is_enabled;
use crate::schema::external_identities;
use crate::single_use::use_up;

/// Why a transaction is rolled back.
enum Abort {
    Refused(LinkOutcome),
    Failed(StoreError),
}

impl From<Error> for Abort {
    fn from(error: Error) -> Self {
        Self::Failed(store_error(&error))
    }
}

/// The transaction takes the write lock before it looks, so that nothing changes in between.
pub(crate) fn link_identity(
    connection: &mut SqliteConnection,
    user: UserId,
    new: &NewIdentity,
    single_use: Option<SingleUse>,
) -> Result<LinkOutcome, StoreError> {
    let outcome =
        connection.immediate_transaction(|connection| write(connection, user, new, single_use));
    match outcome {
        Ok(outcome) | Err(Abort::Refused(outcome)) => Ok(outcome),
        Err(Abort::Failed(error)) => Err(error),
    }
}

fn write(
    connection: &mut SqliteConnection,
    user: UserId,
    new: &NewIdentity,
    single_use: Option<SingleUse>,
) -> Result<LinkOutcome, Abort> {
    if !is_enabled(connection, user)? {
        return Err(Abort::Refused(LinkOutcome::UserDisabled));
    }
    if let Some(mark) = &single_use
        && !use_up(connection, mark)?
    {
        return Err(Abort::Refused(LinkOutcome::Replayed));
    }
    let id = user.as_uuid().as_bytes().as_slice();
    let row = (
        external_identities::issuer.eq(&new.identity.issuer),
        external_identities::subject.eq(&new.identity.subject),
        external_identities::provider.eq(new.provider.as_str()),
        external_identities::user_id.eq(id),
        external_identities::created_at.eq(new.now.as_unix()),
    );
    let inserted = diesel::insert_into(external_identities::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(connection)?;
    if inserted == 1 {
        return Ok(LinkOutcome::Linked);
    }
    let owner: Vec<u8> = external_identities::table
        .find((&new.identity.issuer, &new.identity.subject))
        .select(external_identities::user_id)
        .first(connection)?;
    if owner == id {
        return Ok(LinkOutcome::LinkedBefore);
    }
    Err(Abort::Refused(LinkOutcome::Taken))
}
