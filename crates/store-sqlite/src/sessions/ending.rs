//! Ends sessions.

use diesel::prelude::*;
use mintgate_domain::model::{RevokeReason, SessionEnd, SingleUse, Timestamp};
use mintgate_domain::ports::{LogoutOrder, ProviderLogoutOutcome};

use super::{Condition, is_live, of_identity};
use crate::error::Failure;
use crate::once_marks;
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
