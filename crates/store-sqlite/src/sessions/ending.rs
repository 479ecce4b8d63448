//! Ends sessions.

use diesel::prelude::*;
use mintgate_domain::model::{RevokeReason, SessionEnd, SessionId, SingleUse, Timestamp};
use mintgate_domain::ports::{EndedStep, LogoutOrder, ProviderLogoutOutcome};

use super::row::signed;
use super::{Condition, is_live, of_identity};
use crate::error::Failure;
use crate::once_marks;
use crate::row::{Hex, Row};
use crate::schema::sessions;
use crate::users::raise_identity_epoch;

#[derive(AsChangeset)]
#[diesel(table_name = sessions)]
pub(super) struct Ended {
    revoked_at: i64,
    revoke_reason: &'static str,
}

impl From<SessionEnd> for Ended {
    fn from(end: SessionEnd) -> Self {
        Self { revoked_at: end.at.as_unix(), revoke_reason: end.reason.name() }
    }
}

/// Ends those of the sessions that are live, and says how many that were.
pub(crate) fn end_live(
    connection: &mut SqliteConnection,
    which: Condition<'_>,
    end: SessionEnd,
) -> QueryResult<u64> {
    let live = sessions::table.filter(which).filter(is_live(end.at));
    let ended = diesel::update(live).set(Ended::from(end)).execute(connection)?;
    Ok(ended as u64)
}

/// Ends those of the next sessions that are live and have another restore epoch.
pub(super) fn end_restored(
    connection: &mut SqliteConnection,
    epoch: u64,
    after: Option<SessionId>,
    limit: u32,
    end: SessionEnd,
) -> Result<EndedStep, Failure> {
    // The nil id sorts before every session's id.
    let after = after.map(|id| *id.as_uuid()).unwrap_or_default();
    let page: Vec<Vec<u8>> = sessions::table
        .filter(sessions::id.gt(after.as_bytes().as_slice()))
        .order(sessions::id)
        .limit(limit.into())
        .select(sessions::id)
        .load(connection)?;
    let is_last = page.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(last) = page.last() else { return Ok(EndedStep { ended: 0, next: None }) };
    let row = Row { table: "sessions", id: &Hex(last) };
    let next = SessionId::from_uuid(row.uuid("id", last)?);
    let which = sessions::id
        .gt(after.as_bytes().as_slice())
        .and(sessions::id.le(last))
        .and(sessions::restore_epoch.ne(signed(epoch)));
    let ended = end_live(connection, Box::new(which), end)?;
    Ok(EndedStep { ended, next: Some(next).filter(|_| !is_last) })
}

/// Carries out a provider's order, unless it has been carried out before.
pub(super) fn carry_out(
    connection: &mut SqliteConnection,
    order: &LogoutOrder,
    now: Timestamp,
) -> Result<ProviderLogoutOutcome, Failure> {
    let mark = SingleUse { hash: order.id, expires_at: order.expires_at };
    if !once_marks::claim(connection, &mark)? {
        return Ok(ProviderLogoutOutcome::Replayed);
    }
    let issuer = &order.issuer;
    let of_session =
        |session| sessions::upstream_sid.is_not_null().and(sessions::upstream_sid.is(session));
    let which: Condition<'_> = match (&order.subject, &order.session) {
        // An order that names nobody would be about everybody at the provider.
        (None, None) => return Ok(ProviderLogoutOutcome::Ended(0)),
        (Some(subject), None) => {
            raise_identity_epoch(connection, issuer, subject)?;
            of_identity(issuer, subject)
        }
        (None, Some(session)) => Box::new(sessions::issuer.eq(issuer).and(of_session(session))),
        (Some(subject), Some(session)) => {
            let may_be_it = sessions::upstream_sid.is_null().or(of_session(session));
            Box::new(of_identity(issuer, subject).and(may_be_it))
        }
    };
    let end = SessionEnd { at: now, reason: RevokeReason::ProviderLogout };
    Ok(ProviderLogoutOutcome::Ended(end_live(connection, which, end)?))
}
