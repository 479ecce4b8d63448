//! The sessions, one row each.

use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::{exists, sql};
use diesel::expression::BoxableExpression;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool};
use diesel::sqlite::Sqlite;
use mintgate_domain::model::{
    RevokeReason, Rotation, Session, SessionEnd, SessionId, SessionOpening, SingleUse, Timestamp,
    UserId,
};
use mintgate_domain::ports::{
    EndOutcome, LoadedSession, LogoutOrder, OpenOutcome, ProviderLogoutOutcome, RefreshTokenRepo,
    SessionChange, SessionOwner, StoreError, StoreOperation,
};

use crate::error::Failure;
use crate::json;
use crate::schema::{external_identities, sessions, upstream_tokens, users};
use crate::session_row::{SessionRow, signed};
use crate::store::SqliteStore;
use crate::users::{UserRow, find_person, person, raise_identity_epoch};
use crate::{idempotency_records, once_marks};

#[async_trait]
impl RefreshTokenRepo for SqliteStore {
    fn shares_engine_with_users(&self) -> bool {
        true
    }

    async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        let opening = opening.clone();
        let work = move |connection: &mut _| open(connection, opening);
        self.write(StoreOperation::OpenSession, work).await
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let work = move |connection: &mut _| {
            let identity = external_identities::user_id
                .eq(sessions::user_id)
                .and(external_identities::issuer.eq(sessions::issuer))
                .and(external_identities::subject.eq(sessions::subject));
            let found: Option<(SessionRow, Option<UserRow>, Option<i64>)> = sessions::table
                .left_join(users::table)
                .left_join(external_identities::table.on(identity))
                .filter(sessions::id.eq(id.as_uuid().as_bytes().as_slice()))
                .select((
                    SessionRow::as_select(),
                    Option::<UserRow>::as_select(),
                    external_identities::session_epoch.nullable(),
                ))
                .first(connection)
                .optional()?;
            let Some((session, user, identity_epoch)) = found else { return Ok(None) };
            let owner = user.map(|user| person((user, identity_epoch))).transpose()?;
            Ok(Some((Session::try_from(session)?, owner)))
        };
        let found = self.read(StoreOperation::FindSession, work).await?;
        Ok(found.map(|(session, owner)| LoadedSession {
            rotated_ago: session.previous.map_or(Duration::ZERO, |p| self.since(p.rotated_at)),
            session,
            owner: SessionOwner::Loaded(owner),
        }))
    }

    async fn exchange(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let (rotation, clock) = (rotation.clone(), self.clock.clone());
        let work = move |connection: &mut _| {
            let successor = &rotation.successor;
            let expires_at =
                least(sessions::absolute_expires_at, rotation.idle_expires_at.as_unix());
            let is_current = sessions::user_id
                .eq(rotation.user.as_uuid().as_bytes().as_slice())
                .and(sessions::generation.eq(signed(successor.generation) - 1))
                .and(sessions::cur_hash.eq(rotation.presented.hash.as_bytes().as_slice()))
                .and(sessions::revoked_at.is_null())
                .and(sessions::cur_exp.gt(rotation.now.as_unix()))
                .and(expires_at.eq(successor.expires_at.as_unix()))
                .and(grant_takes_at_most(grant_limit));
            let condition = Box::new(is_current.and(user_is_in_good_standing(rotation.user)));
            let change = Successor::new(&rotation, clock.now().into());
            update(connection, rotation.session, condition, change)
        };
        self.write(StoreOperation::Rotate, work).await
    }

    async fn replace(
        &self,
        seen: &Session,
        change: SessionChange<'_>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let seen = seen.clone();
        match change {
            SessionChange::Rotate(rotation) => {
                let (rotation, clock) = (rotation.clone(), self.clock.clone());
                let work = move |connection: &mut _| {
                    let in_good_standing = user_is_in_good_standing(seen.user);
                    let condition = Box::new(unchanged(&seen).and(in_good_standing));
                    let change = Successor::new(&rotation, clock.now().into());
                    update(connection, seen.id, condition, change)
                };
                self.write(StoreOperation::Rotate, work).await
            }
            SessionChange::CountReplay => {
                let work = move |connection: &mut _| {
                    let one_more = sessions::prev_replays.eq(sessions::prev_replays + 1);
                    update(connection, seen.id, unchanged(&seen), one_more)
                };
                self.write(StoreOperation::Rotate, work).await
            }
            SessionChange::End(end) => {
                let work = move |connection: &mut _| {
                    update(connection, seen.id, unchanged(&seen), Ended::from(end))
                };
                self.write(StoreOperation::Rotate, work).await
            }
        }
    }

    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let work = move |connection: &mut _| {
            let rows = sessions::table
                .filter(sessions::user_id.eq(user.as_uuid().as_bytes().as_slice()))
                .filter(is_live(now))
                .order((sessions::last_used_at.desc(), sessions::id.desc()))
                .limit(limit.into())
                .select(SessionRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(Session::try_from).collect::<Result<_, _>>()?)
        };
        self.read(StoreOperation::LiveSessions, work).await
    }

    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        let work = move |connection: &mut _| {
            let own = sessions::table
                .find(id.as_uuid().as_bytes().as_slice())
                .filter(sessions::user_id.eq(user.as_uuid().as_bytes().as_slice()));
            let ended = diesel::update(own.filter(sessions::revoked_at.is_null()))
                .set(Ended::from(SessionEnd { at: now, reason }))
                .execute(connection)?;
            if ended == 1 {
                return Ok(EndOutcome::Ended);
            }
            let is_there = diesel::select(exists(own)).get_result(connection)?;
            Ok(if is_there { EndOutcome::EndedBefore } else { EndOutcome::Unknown })
        };
        self.write(StoreOperation::EndSession, work).await
    }

    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        let order = order.clone();
        let work = move |connection: &mut _| carry_out(connection, &order, now);
        self.write(StoreOperation::EndProviderSessions, work).await
    }
}

impl SqliteStore {
    /// The time since then, in whole seconds, by the store's own clock.
    fn since(&self, then: Timestamp) -> Duration {
        let seconds = Timestamp::from(self.clock.now()).as_unix() - then.as_unix();
        Duration::from_secs(seconds.try_into().unwrap_or(0))
    }
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// The smaller of two numbers.
    #[sql_name = "min"]
    fn least(a: BigInt, b: BigInt) -> BigInt;
}

/// A condition on rows of the table `sessions`.
pub(crate) type Condition<'a> =
    Box<dyn BoxableExpression<sessions::table, Sqlite, SqlType = Bool> + 'a>;

/// The sessions that were opened with an identity.
pub(crate) fn of_identity<'a>(issuer: &'a str, subject: &'a str) -> Condition<'a> {
    Box::new(sessions::issuer.eq(issuer).and(sessions::subject.eq(subject)))
}

/// The sessions whose tokens work at this moment.
pub(crate) fn is_live(now: Timestamp) -> Condition<'static> {
    Box::new(sessions::revoked_at.is_null().and(sessions::cur_exp.gt(now.as_unix())))
}

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

/// The user is not disabled, and has not ended all sessions since the session was opened.
fn user_is_in_good_standing(user: UserId) -> Condition<'static> {
    let id = user.as_uuid().as_bytes().to_vec();
    let user = users::table
        .filter(users::id.eq(id))
        .filter(users::disabled_at.is_null())
        .filter(users::session_epoch.eq(sessions::user_epoch));
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

#[derive(AsChangeset)]
#[diesel(table_name = sessions)]
struct Ended {
    revoked_at: i64,
    revoke_reason: &'static str,
}

impl From<SessionEnd> for Ended {
    fn from(end: SessionEnd) -> Self {
        Self { revoked_at: end.at.as_unix(), revoke_reason: end.reason.name() }
    }
}

/// One conditional update by primary key; no column that is written is in an index.
fn update<C>(
    connection: &mut SqliteConnection,
    id: SessionId,
    condition: Condition<'_>,
    change: C,
) -> Result<Option<Box<Session>>, Failure>
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

/// Every check comes before the first write, so that a refusal has nothing to undo.
fn open(
    connection: &mut SqliteConnection,
    opening: SessionOpening,
) -> Result<OpenOutcome, Failure> {
    let SessionOpening { session, single_use, upstream, profile, idempotency } = opening;
    let (id, user, now) = (session.id, session.user, session.created_at);
    let row = sessions::table.find(id.as_uuid().as_bytes().as_slice());
    // Session ids are random and fresh: an earlier attempt of this very call got through.
    if diesel::select(exists(row)).get_result(connection)? {
        return Ok(OpenOutcome::Opened);
    }
    let person = find_person(connection, session.user, &session.identity)?;
    if !person.is_some_and(|person| person.admits(&session)) {
        return Ok(OpenOutcome::PersonChanged);
    }
    if let Some(mark) = &single_use
        && once_marks::is_claimed(connection, mark.hash)?
    {
        return Ok(OpenOutcome::Replayed);
    }
    if let Some(record) = &idempotency
        && idempotency_records::find(connection, record.request.key, now)?.is_some()
    {
        return Ok(OpenOutcome::IdempotencyKeyTaken);
    }

    diesel::insert_into(sessions::table).values(SessionRow::from(session)).execute(connection)?;
    if let Some(mark) = &single_use {
        once_marks::claim(connection, mark)?;
    }
    if let Some(sealed) = upstream {
        let row = (
            upstream_tokens::session_id.eq(id.as_uuid().as_bytes().as_slice()),
            upstream_tokens::sealed.eq(sealed.0),
            upstream_tokens::asked_at.eq(now.as_unix()),
        );
        diesel::insert_into(upstream_tokens::table).values(row).execute(connection)?;
    }
    if let Some(profile) = profile {
        diesel::update(users::table.find(user.as_uuid().as_bytes().as_slice()))
            .set((
                users::name.eq(profile.name),
                users::preferred_username.eq(profile.preferred_username),
                users::email.eq(profile.email),
                users::picture.eq(profile.picture),
            ))
            .execute(connection)?;
    }
    if let Some(record) = &idempotency {
        idempotency_records::store(connection, record, id)?;
    }
    Ok(OpenOutcome::Opened)
}

fn carry_out(
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
