//! Takes an identity away from a user, and ends the sessions that were opened with it.

use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::model::{ExternalIdentity, SessionEnd, SessionId, UserId};
use mintgate_domain::ports::{StoreError, UnlinkOutcome};

use crate::error::store_error;
use crate::schema::{external_identities, sessions};

/// The transaction takes the write lock before it counts: of several at once, one finds the last.
pub(crate) fn unlink_identity(
    connection: &mut SqliteConnection,
    user: UserId,
    identity: &ExternalIdentity,
    keep: SessionId,
    end: SessionEnd,
) -> Result<UnlinkOutcome, StoreError> {
    let outcome =
        connection.immediate_transaction(|connection| write(connection, user, identity, keep, end));
    outcome.map_err(|e: Error| store_error(&e))
}

fn write(
    connection: &mut SqliteConnection,
    user: UserId,
    identity: &ExternalIdentity,
    keep: SessionId,
    end: SessionEnd,
) -> QueryResult<UnlinkOutcome> {
    let user = user.as_uuid().as_bytes().as_slice();
    let own = external_identities::table.filter(external_identities::user_id.eq(user));
    let named = own
        .filter(external_identities::issuer.eq(&identity.issuer))
        .filter(external_identities::subject.eq(&identity.subject));
    if !diesel::select(diesel::dsl::exists(named)).get_result::<bool>(connection)? {
        return Ok(UnlinkOutcome::Unknown);
    }
    if own.count().get_result::<i64>(connection)? == 1 {
        return Ok(UnlinkOutcome::Last);
    }
    diesel::delete(named).execute(connection)?;
    let opened_with_it = sessions::table
        .filter(sessions::user_id.eq(user))
        .filter(sessions::issuer.eq(&identity.issuer))
        .filter(sessions::subject.eq(&identity.subject))
        .filter(sessions::id.ne(keep.as_uuid().as_bytes().as_slice()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::cur_exp.gt(end.at.as_unix()));
    let ended = diesel::update(opened_with_it)
        .set((
            sessions::revoked_at.eq(end.at.as_unix()),
            sessions::revoke_reason.eq(end.reason.name()),
        ))
        .execute(connection)?;
    Ok(UnlinkOutcome::Unlinked { ended: ended as u64 })
}
