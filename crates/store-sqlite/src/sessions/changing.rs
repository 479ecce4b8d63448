//! Changes one session, by a conditional update of its row.

use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool};
use diesel::sqlite::Sqlite;
use mintgate_domain::model::{Rotation, Session, SessionEnd, SessionId, Timestamp, UserId};

use super::Condition;
use super::ending::Ended;
use super::row::{SessionRow, signed};
use crate::error::Failure;
use crate::json;
use crate::schema::{restore_epoch, sessions, users};

#[diesel::declare_sql_function]
extern "SQL" {
    /// The smaller of two numbers.
    #[sql_name = "min"]
    fn least(a: BigInt, b: BigInt) -> BigInt;
}

/// Makes the successor the current token, if the presented one is the current token of a live session
/// and the successor fits.
pub(super) fn exchange(
    connection: &mut SqliteConnection,
    rotation: &Rotation,
    grant_limit: Option<u32>,
    at: Timestamp,
) -> Changed {
    let successor = &rotation.successor;
    let expires_at = least(sessions::absolute_expires_at, rotation.idle_expires_at.as_unix());
    let is_current = sessions::user_id
        .eq(rotation.user.as_uuid().as_bytes().as_slice())
        .and(sessions::generation.eq(signed(successor.generation) - 1))
        .and(sessions::cur_hash.eq(rotation.presented.hash.as_bytes().as_slice()))
        .and(sessions::revoked_at.is_null())
        .and(sessions::cur_exp.gt(rotation.now.as_unix()))
        .and(expires_at.eq(successor.expires_at.as_unix()))
        .and(grant_takes_at_most(grant_limit));
    let condition = Box::new(is_current.and(user_is_in_good_standing(rotation.user)));
    update(connection, rotation.session, condition, Successor::new(rotation, at))
}

/// Makes the successor the current token of a session that is as it was seen.
pub(super) fn rotate(
    connection: &mut SqliteConnection,
    seen: &Session,
    rotation: &Rotation,
    at: Timestamp,
) -> Changed {
    let condition = Box::new(unchanged(seen).and(user_is_in_good_standing(seen.user)));
    update(connection, seen.id, condition, Successor::new(rotation, at))
}

/// Counts a replay of the previous token of a session that is as it was seen.
pub(super) fn count_replay(connection: &mut SqliteConnection, seen: &Session) -> Changed {
    let one_more = sessions::prev_replays.eq(sessions::prev_replays + 1);
    update(connection, seen.id, unchanged(seen), one_more)
}

/// Ends a session that is as it was seen.
pub(super) fn end_unchanged(
    connection: &mut SqliteConnection,
    seen: &Session,
    end: SessionEnd,
) -> Changed {
    update(connection, seen.id, unchanged(seen), Ended::from(end))
}

/// The session as it is after the change; `None` if it was not changed.
type Changed = Result<Option<Box<Session>>, Failure>;

/// The condition that nothing has changed which a rotation is judged by.
fn unchanged(seen: &Session) -> Condition<'_> {
    let (hash, replays) = match &seen.previous {
        Some(previous) => (Some(previous.hash.as_bytes().as_slice()), previous.replays),
        None => (None, 0),
    };
    Box::new(
        sessions::generation
            .eq(signed(seen.refresh.generation))
            .and(sessions::cur_hash.eq(seen.refresh.hash.as_bytes().as_slice()))
            .and(sessions::prev_hash.is(hash))
            .and(sessions::prev_replays.eq(i64::from(replays)))
            .and(sessions::revoked_at.is_null()),
    )
}

/// The claims of the session's access tokens take at most so many bytes as they are stored.
fn grant_takes_at_most(limit: Option<u32>) -> Condition<'static> {
    let sum = "octet_length(roles || amr || coalesce(acr, '') || extra_claims) <= ";
    Box::new(sql::<Bool>(sum).bind::<BigInt, _>(limit.map_or(i64::MAX, i64::from)))
}

/// The user is not disabled, and has not ended all sessions since the session was opened; nor was a backup
/// restored since.
fn user_is_in_good_standing(user: UserId) -> Condition<'static> {
    let id = user.as_uuid().as_bytes().to_vec();
    let user = users::table
        .filter(users::id.eq(id))
        .filter(users::disabled_at.is_null())
        .filter(users::session_epoch.eq(sessions::user_epoch))
        .filter(restore_epoch!().eq(sessions::restore_epoch.nullable()));
    Box::new(exists(user))
}

/// The successor is the current token, and the presented token the previous one. Of a current token
/// that is superseded without having been used, nothing is kept.
#[derive(AsChangeset)]
#[diesel(table_name = sessions)]
struct Successor<'a> {
    generation: i64,
    cur_hash: &'a [u8],
    cur_kid: &'a str,
    cur_iat: i64,
    cur_exp: i64,
    prev_hash: &'a [u8],
    prev_replays: i64,
    rotated_at: i64,
    last_used_at: i64,
    /// The roles as a JSON array; `None` leaves them as they are.
    roles: Option<String>,
}

impl<'a> Successor<'a> {
    fn new(rotation: &'a Rotation, at: Timestamp) -> Self {
        let successor = &rotation.successor;
        Self {
            generation: signed(successor.generation),
            cur_hash: successor.hash.as_bytes(),
            cur_kid: successor.key_id.as_str(),
            cur_iat: successor.issued_at.as_unix(),
            cur_exp: successor.expires_at.as_unix(),
            prev_hash: rotation.presented.hash.as_bytes(),
            prev_replays: 0,
            rotated_at: at.as_unix(),
            last_used_at: rotation.now.as_unix(),
            roles: rotation.roles.as_deref().map(json::roles),
        }
    }
}

/// One conditional update by primary key; no column that is written is in an index.
fn update<C>(
    connection: &mut SqliteConnection,
    id: SessionId,
    condition: Condition<'_>,
    change: C,
) -> Changed
where
    C: AsChangeset<Target = sessions::table, Changeset: QueryFragment<Sqlite>>,
{
    let update = diesel::update(sessions::table.find(id.as_uuid().as_bytes().as_slice()))
        .filter(condition)
        .set(change)
        .returning(SessionRow::as_select());
    let row: Option<SessionRow> = Prepared(update).get_result(connection).optional()?;
    Ok(row.map(Session::try_from).transpose()?.map(Box::new))
}

/// An `UPDATE` that is compiled once and kept by its text.
///
/// Diesel compiles every `UPDATE` again, because the columns it sets may differ from call to call. A
/// change of a session sets one of a few fixed sets of columns, so the number of texts is bounded.
struct Prepared<Q>(Q);

impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}

impl<Q: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Sqlite) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q> RunQueryDsl<SqliteConnection> for Prepared<Q> {}
