//! Ends many sessions at once.
//!
//! The rows are locked in the order of their ids: two statements of these at once cannot wait for each
//! other. Whoever has raised an epoch first, in the same transaction, reads here every session that
//! was opened with the old one.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Uuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{ExternalIdentity, SessionEnd, SessionId, UserId};
use mintgate_domain::ports::{EndedStep, LogoutOrder};

use crate::error::Failure;
use crate::schema::sessions;
use crate::sql::{Sql, SqlText, Value};
use crate::time::to_postgres;

/// One text for each index that finds the sessions. The session `$keep` is locked in its turn, and goes
/// on without an identity epoch.
macro_rules! end {
    ($named:literal) => {
        end!($named, "", "")
    };
    ($named:literal, keep) => {
        end!(
            $named,
            " AND s.id <> $keep",
            ", kept AS (
                UPDATE sessions AS s SET identity_epoch = NULL
                FROM live WHERE s.id = live.id AND s.id = $keep
            )"
        )
    };
    ($named:literal, $except:literal, $kept:literal) => {
        concat!(
            "WITH live AS MATERIALIZED (
                SELECT s.id FROM sessions AS s
                WHERE ",
            $named,
            " AND s.revoked_at IS NULL AND s.cur_exp > $now
                ORDER BY s.id FOR NO KEY UPDATE
            ), ended AS (
                UPDATE sessions AS s SET revoked_at = $now, revoke_reason = $reason
                FROM live WHERE s.id = live.id",
            $except,
            " RETURNING s.id
            )",
            $kept,
            " SELECT count(*) FROM ended"
        )
    };
}

static OF_USER: SqlText = SqlText::new(end!("s.user_id = $user"));
static OF_SUBJECT: SqlText = SqlText::new(end!("s.issuer = $issuer AND s.subject = $subject"));
static OF_SID: SqlText = SqlText::new(end!("s.issuer = $issuer AND s.upstream_sid = $sid"));
static OF_SUBJECT_AND_SID: SqlText = SqlText::new(end!(
    "s.issuer = $issuer AND s.subject = $subject
        AND (s.upstream_sid = $sid OR s.upstream_sid IS NULL)"
));
static OF_UNLINKED: SqlText =
    SqlText::new(end!("s.user_id = $user AND s.issuer = $issuer AND s.subject = $subject", keep));

async fn end(
    connection: &mut AsyncPgConnection,
    text: &'static SqlText,
    end: SessionEnd,
    named: impl IntoIterator<Item = (&'static str, Value<'_>)>,
) -> Result<u64, Failure> {
    let common = [("now", Value::at(end.at)?), ("reason", Value::Text(end.reason.name()))];
    let values: Vec<_> = common.into_iter().chain(named).collect();
    let ended: i64 = Sql::<BigInt>::new(text, values).answer(connection).await?;
    Ok(ended.unsigned_abs())
}

/// Ends the sessions of a user; returns how many were live.
pub(crate) async fn of_user(
    connection: &mut AsyncPgConnection,
    user: UserId,
    at: SessionEnd,
) -> Result<u64, Failure> {
    end(connection, &OF_USER, at, [("user", Value::Uuid(*user.as_uuid()))]).await
}

/// Ends the sessions that were opened with an identity; returns how many were live.
pub(crate) async fn of_identity(
    connection: &mut AsyncPgConnection,
    identity: &ExternalIdentity,
    at: SessionEnd,
) -> Result<u64, Failure> {
    let ExternalIdentity { issuer, subject } = identity;
    let named = [("issuer", Value::Text(issuer)), ("subject", Value::Text(subject))];
    end(connection, &OF_SUBJECT, at, named).await
}

/// Ends the sessions of a user that were opened with an identity, except `keep`; returns how many were
/// live.
pub(crate) async fn of_unlinked(
    connection: &mut AsyncPgConnection,
    user: UserId,
    identity: &ExternalIdentity,
    keep: SessionId,
    at: SessionEnd,
) -> Result<u64, Failure> {
    let named = [
        ("user", Value::Uuid(*user.as_uuid())),
        ("issuer", Value::Text(&identity.issuer)),
        ("subject", Value::Text(&identity.subject)),
        ("keep", Value::Uuid(*keep.as_uuid())),
    ];
    end(connection, &OF_UNLINKED, at, named).await
}

/// Ends the sessions that a provider's order names; returns how many were live. An order that names
/// neither a subject nor a session ends none.
pub(crate) async fn of_order(
    connection: &mut AsyncPgConnection,
    order: &LogoutOrder,
    at: SessionEnd,
) -> Result<u64, Failure> {
    let text = match (&order.subject, &order.session) {
        (Some(_), Some(_)) => &OF_SUBJECT_AND_SID,
        (Some(_), None) => &OF_SUBJECT,
        (None, Some(_)) => &OF_SID,
        (None, None) => return Ok(0),
    };
    let named = [
        ("issuer", Value::Text(&order.issuer)),
        ("subject", Value::MaybeText(order.subject.as_deref())),
        ("sid", Value::MaybeText(order.session.as_deref())),
    ];
    end(connection, text, at, named).await
}

/// The page's last row is there only if the page is full.
static OF_OTHER_RESTORE_EPOCHS: SqlText = SqlText::new(
    "WITH page AS MATERIALIZED (
        SELECT id FROM sessions WHERE id > $after ORDER BY id LIMIT $limit
    ), live AS MATERIALIZED (
        SELECT s.id FROM sessions AS s JOIN page ON page.id = s.id
        WHERE s.restore_epoch <> $epoch AND s.revoked_at IS NULL AND s.cur_exp > $now
        ORDER BY s.id FOR NO KEY UPDATE OF s
    ), ended AS (
        UPDATE sessions AS s SET revoked_at = $now, revoke_reason = $reason
        FROM live WHERE s.id = live.id RETURNING s.id
    )
    SELECT (SELECT id FROM page ORDER BY id OFFSET $before_last LIMIT 1),
        (SELECT count(*) FROM ended)",
);

/// Ends those of the next sessions that are live and have another restore epoch.
pub(super) async fn of_other_restore_epochs(
    connection: &mut AsyncPgConnection,
    epoch: u64,
    after: Option<SessionId>,
    limit: u32,
    end: SessionEnd,
) -> Result<EndedStep, Failure> {
    // The nil id sorts before every session's id.
    let after = after.map(|id| *id.as_uuid()).unwrap_or_default();
    let values = [
        ("after", Value::Uuid(after)),
        ("limit", Value::BigInt(limit.into())),
        ("before_last", Value::BigInt(limit.saturating_sub(1).into())),
        ("epoch", Value::BigInt(epoch.try_into().unwrap_or(i64::MAX))),
        ("now", Value::at(end.at)?),
        ("reason", Value::Text(end.reason.name())),
    ];
    let sql = Sql::<(Nullable<Uuid>, BigInt)>::new(&OF_OTHER_RESTORE_EPOCHS, values);
    let (next, ended): (Option<uuid::Uuid>, i64) = sql.answer(connection).await?;
    Ok(EndedStep { ended: ended.unsigned_abs(), next: next.map(SessionId::from_uuid) })
}

/// How many of the sessions named were ended at this very time for this reason: what a call has ended
/// whose answer was lost.
pub(crate) async fn ended_by(
    connection: &mut AsyncPgConnection,
    user: Option<UserId>,
    issuer: &str,
    subject: Option<&str>,
    sid: Option<&str>,
    end: SessionEnd,
) -> Result<u64, Failure> {
    let mut ended = sessions::table
        .filter(sessions::issuer.eq(issuer))
        .filter(sessions::revoked_at.eq(to_postgres(end.at)?))
        .filter(sessions::revoke_reason.eq(end.reason.name()))
        .count()
        .into_boxed();
    if let Some(user) = user {
        ended = ended.filter(sessions::user_id.eq(*user.as_uuid()));
    }
    if let Some(subject) = subject {
        ended = ended.filter(sessions::subject.eq(subject));
    }
    if let Some(sid) = sid {
        let unknown = sessions::upstream_sid.is_null();
        ended = ended.filter(sessions::upstream_sid.eq(sid).or(unknown));
    }
    Ok(ended.get_result::<i64>(connection).await?.unsigned_abs())
}
