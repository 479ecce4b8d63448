//! Ends the sessions that a provider's order is about, and marks the order as used.

use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::model::{RevokeReason, SingleUse, Timestamp};
use mintgate_domain::ports::{LogoutOrder, ProviderLogoutOutcome, StoreError};

use crate::error::store_error;
use crate::schema::sessions;
use crate::single_use::use_up;

pub(crate) fn end_provider_sessions(
    connection: &mut SqliteConnection,
    order: &LogoutOrder,
    now: Timestamp,
) -> Result<ProviderLogoutOutcome, StoreError> {
    let outcome = connection.immediate_transaction(|connection| carry_out(connection, order, now));
    outcome.map_err(|e: Error| store_error(&e))
}

fn carry_out(
    connection: &mut SqliteConnection,
    order: &LogoutOrder,
    now: Timestamp,
) -> QueryResult<ProviderLogoutOutcome> {
    if !use_up(connection, &SingleUse { hash: order.id, expires_at: order.expires_at })? {
        return Ok(ProviderLogoutOutcome::Replayed);
    }
    if order.subject.is_none() && order.session.is_none() {
        // It would be about everybody there.
        return Ok(ProviderLogoutOutcome::Ended(0));
    }
    let live = sessions::table
        .filter(sessions::issuer.eq(&order.issuer))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::cur_exp.gt(now.as_unix()));
    let mut ending = diesel::update(live)
        .set((
            sessions::revoked_at.eq(now.as_unix()),
            sessions::revoke_reason.eq(RevokeReason::ProviderLogout.name()),
        ))
        .into_boxed();
    if let Some(subject) = &order.subject {
        ending = ending.filter(sessions::subject.eq(subject));
    }
    ending = match (&order.session, &order.subject) {
        (Some(session), Some(_)) => {
            let unnamed = sessions::upstream_sid.is_null();
            ending.filter(unnamed.or(sessions::upstream_sid.eq(session).assume_not_null()))
        }
        (Some(session), None) => ending.filter(sessions::upstream_sid.eq(session)),
        (None, _) => ending,
    };
    let ended = ending.execute(connection)?;
    Ok(ProviderLogoutOutcome::Ended(ended as u64))
}
