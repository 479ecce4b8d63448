//! The providers' refresh tokens: one caller at a time has one.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::model::{SealedToken, SessionId, Timestamp};
use mintgate_domain::ports::{StoreError, UpstreamRenewal};

use crate::error::store_error;
use crate::json;
use crate::schema::{sessions, upstream_tokens};

/// Who would have a token, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) session: SessionId,
    /// If its provider was last asked then, or before.
    pub(crate) due: Timestamp,
    pub(crate) now: Timestamp,
    /// Until then, unless what came of it is kept sooner.
    pub(crate) lease: Timestamp,
}

/// The token, if it is due and nobody has it. A macro because the type has no name worth having.
macro_rules! free {
    ($claim:expr) => {
        upstream_tokens::table
            .find($claim.session.as_uuid().as_bytes().as_slice())
            .filter(upstream_tokens::asked_at.le($claim.due.as_unix()))
            .filter(
                upstream_tokens::claimed_until
                    .is_null()
                    .or(upstream_tokens::claimed_until.le($claim.now.as_unix())),
            )
    };
}

/// Looks, without a lock.
pub(crate) fn is_free(connection: &mut SqliteConnection, claim: Claim) -> Result<bool, StoreError> {
    diesel::select(exists(free!(claim))).get_result(connection).map_err(|e| store_error(&e))
}

/// The transaction takes the write lock before it looks: of several at once one finds it free.
pub(crate) fn claim(
    connection: &mut SqliteConnection,
    claim: Claim,
) -> Result<Option<SealedToken>, StoreError> {
    let claimed = connection.immediate_transaction(|connection| {
        let sealed: Option<String> =
            free!(claim).select(upstream_tokens::sealed).first(connection).optional()?;
        if sealed.is_some() {
            let row = upstream_tokens::table.find(claim.session.as_uuid().as_bytes().as_slice());
            diesel::update(row)
                .set(upstream_tokens::claimed_until.eq(claim.lease.as_unix()))
                .execute(connection)?;
        }
        Ok(sealed.map(SealedToken))
    });
    claimed.map_err(|e: Error| store_error(&e))
}

/// Where there is no token any more there is nothing to keep; so it is with the session.
pub(crate) fn keep(
    connection: &mut SqliteConnection,
    session: SessionId,
    renewal: &UpstreamRenewal,
) -> Result<(), StoreError> {
    let id = session.as_uuid().as_bytes().as_slice();
    let kept = connection.immediate_transaction(|connection| {
        diesel::update(upstream_tokens::table.find(id))
            .set((
                upstream_tokens::asked_at.eq(renewal.at.as_unix()),
                upstream_tokens::claimed_until.eq(None::<i64>),
                renewal.token.as_ref().map(|token| upstream_tokens::sealed.eq(&token.0)),
            ))
            .execute(connection)?;
        if let Some(roles) = &renewal.claimed_roles {
            diesel::update(sessions::table.find(id))
                .set(sessions::claimed_roles.eq(json::roles(roles)))
                .execute(connection)?;
        }
        Ok(())
    });
    kept.map_err(|e: Error| store_error(&e))
}
