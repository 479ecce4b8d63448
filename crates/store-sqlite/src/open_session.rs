//! Opens a session: everything a sign-in writes, as one transaction.

use diesel::dsl::exists;
use diesel::insert_into;
use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::model::{
    IdempotencyRecord, NewSession, NewUser, SealedToken, SessionOpening, SessionOwner, UserId,
};
use mintgate_domain::ports::{OpenOutcome, StoreError};

use crate::error::store_error;
use crate::find_user::is_enabled;
use crate::json;
use crate::schema::{external_identities, idempotency_keys, sessions, upstream_tokens, users};
use crate::single_use::use_up;

/// Why a transaction is rolled back.
enum Abort {
    Refused(OpenOutcome),
    Failed(StoreError),
}

impl From<Error> for Abort {
    fn from(error: Error) -> Self {
        Self::Failed(store_error(&error))
    }
}

/// The transaction takes the write lock before it looks, so that nothing changes in between.
pub(crate) fn open_session(
    connection: &mut SqliteConnection,
    opening: &SessionOpening,
) -> Result<OpenOutcome, StoreError> {
    match connection.immediate_transaction(|connection| write(connection, opening)) {
        Ok(()) => Ok(OpenOutcome::Opened),
        Err(Abort::Refused(outcome)) => Ok(outcome),
        Err(Abort::Failed(error)) => Err(error),
    }
}

fn write(connection: &mut SqliteConnection, opening: &SessionOpening) -> Result<(), Abort> {
    let session = &opening.session;
    let id = session.id.as_uuid().as_bytes().as_slice();
    // Session ids are random and fresh: an earlier attempt of this very call got through.
    if diesel::select(exists(sessions::table.find(id))).get_result(connection)? {
        return Ok(());
    }
    if let Some(mark) = &opening.single_use {
        require(use_up(connection, mark)?, OpenOutcome::Replayed)?;
    }
    match &opening.owner {
        SessionOwner::Existing(id) => {
            require(is_enabled(connection, *id)?, OpenOutcome::UserDisabled)?;
            // It may have been unlinked since the user was looked up.
            require(is_known_by(connection, *id, session)?, OpenOutcome::IdentityTaken)?;
        }
        SessionOwner::New(user) => write_user(connection, user, session)?,
    }
    write_session(connection, opening.owner.user_id(), session)?;
    if let Some(sealed) = &opening.upstream {
        write_upstream(connection, session, sealed)?;
    }
    match &opening.idempotency {
        Some(record) => write_key(connection, record, session),
        None => Ok(()),
    }
}

fn is_known_by(
    connection: &mut SqliteConnection,
    user: UserId,
    session: &NewSession,
) -> Result<bool, Error> {
    let identity = external_identities::table
        .filter(external_identities::issuer.eq(&session.identity.issuer))
        .filter(external_identities::subject.eq(&session.identity.subject))
        .filter(external_identities::user_id.eq(user.as_uuid().as_bytes().as_slice()));
    diesel::select(exists(identity)).get_result(connection)
}

fn require(holds: bool, outcome: OpenOutcome) -> Result<(), Abort> {
    if holds { Ok(()) } else { Err(Abort::Refused(outcome)) }
}

fn write_user(
    connection: &mut SqliteConnection,
    user: &NewUser,
    session: &NewSession,
) -> Result<(), Abort> {
    let id = user.id.as_uuid().as_bytes().as_slice();
    let created_at = session.created_at.as_unix();
    insert_into(users::table)
        .values((users::id.eq(id), users::created_at.eq(created_at)))
        .execute(connection)?;
    let identity = (
        external_identities::issuer.eq(&user.identity.issuer),
        external_identities::subject.eq(&user.identity.subject),
        external_identities::provider.eq(session.provider.as_str()),
        external_identities::user_id.eq(id),
        external_identities::created_at.eq(created_at),
    );
    let inserted = insert_into(external_identities::table)
        .values(identity)
        .on_conflict_do_nothing()
        .execute(connection)?;
    require(inserted == 1, OpenOutcome::IdentityTaken)
}

/// Its provider counts as asked.
fn write_upstream(
    connection: &mut SqliteConnection,
    session: &NewSession,
    sealed: &SealedToken,
) -> Result<(), Abort> {
    let row = (
        upstream_tokens::session_id.eq(session.id.as_uuid().as_bytes().as_slice()),
        upstream_tokens::sealed.eq(&sealed.0),
        upstream_tokens::asked_at.eq(session.created_at.as_unix()),
    );
    insert_into(upstream_tokens::table).values(row).execute(connection)?;
    Ok(())
}

/// A key that has been forgotten, swept or not, may be used again.
fn write_key(
    connection: &mut SqliteConnection,
    record: &IdempotencyRecord,
    session: &NewSession,
) -> Result<(), Abort> {
    let key = record.request.key.as_bytes().as_slice();
    let forgotten = idempotency_keys::table
        .find(key)
        .filter(idempotency_keys::expires_at.le(session.created_at.as_unix()));
    diesel::delete(forgotten).execute(connection)?;
    let row = (
        idempotency_keys::key_hash.eq(key),
        idempotency_keys::body_hash.eq(record.request.body.as_bytes().as_slice()),
        idempotency_keys::session_id.eq(session.id.as_uuid().as_bytes().as_slice()),
        idempotency_keys::expires_at.eq(record.expires_at.as_unix()),
    );
    let inserted = insert_into(idempotency_keys::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(connection)?;
    require(inserted == 1, OpenOutcome::IdempotencyKeyTaken)
}

fn write_session(
    connection: &mut SqliteConnection,
    user: UserId,
    session: &NewSession,
) -> Result<(), Abort> {
    let (refresh, grant, client) = (&session.refresh, &session.grant, &session.client);
    let generation = i64::try_from(refresh.generation)
        .map_err(|_| Abort::Failed(StoreError::Corrupt("gen is out of range".into())))?;
    let row = (
        sessions::id.eq(session.id.as_uuid().as_bytes().as_slice()),
        sessions::user_id.eq(user.as_uuid().as_bytes().as_slice()),
        sessions::provider.eq(session.provider.as_str()),
        sessions::issuer.eq(&session.identity.issuer),
        sessions::subject.eq(&session.identity.subject),
        sessions::upstream_sid.eq(&session.upstream_sid),
        sessions::generation.eq(generation),
        sessions::cur_hash.eq(refresh.hash.as_bytes().as_slice()),
        sessions::cur_kid.eq(refresh.key_id.as_str()),
        sessions::cur_iat.eq(refresh.issued_at.as_unix()),
        sessions::cur_exp.eq(refresh.expires_at.as_unix()),
        sessions::absolute_expires_at.eq(session.absolute_expires_at.as_unix()),
        sessions::created_at.eq(session.created_at.as_unix()),
        sessions::last_used_at.eq(session.created_at.as_unix()),
        sessions::user_agent.eq(&client.user_agent),
        sessions::ip_prefix.eq(&client.ip_prefix),
        sessions::roles.eq(json::roles(&grant.roles)),
        sessions::auth_time.eq(grant.auth_time.as_unix()),
        sessions::acr.eq(&grant.acr),
        sessions::amr.eq(json::texts(grant.amr.iter().map(String::as_str))),
        sessions::extra_claims.eq(json::claims(grant.extra.iter())),
        sessions::claimed_roles.eq(json::roles(&session.claimed_roles)),
    );
    insert_into(sessions::table).values(row).execute(connection)?;
    Ok(())
}
