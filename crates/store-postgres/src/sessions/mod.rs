//! Sessions and their refresh tokens.

mod administration;
pub(crate) mod ending;
mod opening;
mod row;

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl};
use mintgate_domain::model::{
    ExternalIdentity, RevokeReason, Role, Rotation, Session, SessionEnd, SessionId, SessionOpening,
    SingleUse, Timestamp, UserId,
};
use mintgate_domain::ports::{
    EndOutcome, EndedStep, LoadedSession, LogoutOrder, OpenOutcome, ProviderLogoutOutcome,
    RefreshTokenRepo, SessionChange, SessionOwner, StoreError, StoreOperation,
};

use self::row::{LastingColumns, LastingRow, SessionRow, lasting_columns};
use crate::once_marks::claim;
use crate::pool::Attempt;
use crate::schema::{
    clock_timestamp, coalesce, external_identities, pg_is_in_recovery, restore_epoch, sessions,
    users,
};
use crate::sql::{Sql, SqlText, Value, prepared};
use crate::standby::{refuse_standby, require_primary};
use crate::store::PgStore;
use crate::time::{between, bound, to_postgres};
use crate::users::{UserRow, raise_identity_epoch};

/// The second part tells what the first one did not end: another user's session from one that has
/// ended, even if it ended while the first part waited for it.
static END: SqlText = SqlText::new(
    "WITH ended AS (
        UPDATE sessions SET revoked_at = $now, revoke_reason = $reason
        WHERE id = $session AND user_id IS NOT DISTINCT FROM $user AND revoked_at IS NULL
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM ended),
        EXISTS (SELECT FROM sessions WHERE id = $session AND user_id IS NOT DISTINCT FROM $user)",
);

/// The successor takes the place of the current token, which becomes the previous one.
///
/// Text, because every refresh runs it: the query builder makes a statement of twice the length, with
/// half as many values again. No column that is assigned is in an index, so that Postgres leaves the
/// indexes alone (a HOT update). `IS NOT DISTINCT FROM` keeps the planner from the index on the user.
/// The user's row and the restore epoch are found by subqueries that do not depend on the session, which
/// cost less than a join.
static EXCHANGE: SqlText = SqlText::new(concat!(
    "UPDATE sessions SET gen = $generation, cur_hash = $successor, cur_kid = $key_id,
        cur_iat = $issued_at, cur_exp = $expires_at, prev_hash = cur_hash, prev_replays = 0,
        rotated_at = clock_timestamp(), last_used_at = $now, roles = COALESCE($roles, roles)
    WHERE id = $session AND user_id IS NOT DISTINCT FROM $user
        AND gen = $generation - 1 AND cur_hash = $presented
        AND revoked_at IS NULL AND cur_exp > $now
        AND LEAST(absolute_expires_at, $idle_limit) = $expires_at
        AND octet_length(concat(roles, amr, acr, extra_claims)) <= $grant_limit
        AND user_epoch =
            (SELECT session_epoch FROM users WHERE users.id = $user AND disabled_at IS NULL)
        AND restore_epoch = (SELECT epoch FROM restores)
    RETURNING rotated_at, ",
    lasting_columns!()
));

/// What a rotation writes. No column that is assigned is in an index, so that Postgres leaves the
/// indexes alone (a HOT update).
#[derive(AsChangeset)]
#[diesel(table_name = sessions)]
struct Successor<'a> {
    r#gen: i64,
    cur_hash: &'a [u8],
    cur_kid: &'a str,
    cur_iat: PgTimestamp,
    cur_exp: PgTimestamp,
    prev_hash: &'a [u8],
    prev_replays: i16,
    last_used_at: PgTimestamp,
}

impl<'a> TryFrom<&'a Rotation> for Successor<'a> {
    type Error = StoreError;

    fn try_from(rotation: &'a Rotation) -> Result<Self, StoreError> {
        let successor = &rotation.successor;
        Ok(Self {
            r#gen: generation(successor.generation)?,
            cur_hash: successor.hash.as_bytes(),
            cur_kid: successor.key_id.as_str(),
            cur_iat: to_postgres(successor.issued_at)?,
            cur_exp: to_postgres(successor.expires_at)?,
            prev_hash: rotation.presented.hash.as_bytes(),
            prev_replays: 0,
            last_used_at: to_postgres(rotation.now)?,
        })
    }
}

fn generation(number: u64) -> Result<i64, StoreError> {
    number.try_into().map_err(|_| StoreError::Corrupt("a generation is out of range".into()))
}

fn names(roles: Option<&[Role]>) -> Option<Vec<&str>> {
    roles.map(|roles| roles.iter().map(Role::as_str).collect())
}

/// Whether the user of a session that is being updated lets it go on, and no backup was restored since it
/// was opened.
macro_rules! user_is_in_good_standing {
    ($user:expr) => {
        exists(
            users::table
                .filter(users::id.eq($user))
                .filter(users::session_epoch.eq(sessions::user_epoch))
                .filter(users::disabled_at.is_null())
                .filter(restore_epoch!().eq(sessions::restore_epoch.nullable())),
        )
    };
}

/// The session that an update has left, if it found the row.
///
/// The answer is read to its end: Postgres sends the row first and commits afterwards.
fn written(rows: Vec<SessionRow>) -> Result<Option<Box<Session>>, StoreError> {
    rows.into_iter().next().map(|row| row.try_into().map(Box::new)).transpose()
}

/// A session with its user, the epoch of its identity, the restore epoch, the time, and whether the server is a standby.
type Found = (SessionRow, Option<UserRow>, Option<i64>, Option<i64>, PgTimestamp, bool);

#[async_trait]
impl RefreshTokenRepo for PgStore {
    fn shares_engine_with_users(&self) -> bool {
        true
    }

    async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        self.run(StoreOperation::OpenSession, async |connection, _| {
            opening::open(connection, opening).await
        })
        .await
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let linked = external_identities::user_id
            .eq(sessions::user_id)
            .and(external_identities::issuer.eq(sessions::issuer))
            .and(external_identities::subject.eq(sessions::subject));
        let query = sessions::table
            .left_join(users::table)
            .left_join(external_identities::table.on(linked))
            .filter(sessions::id.eq(id.as_uuid()))
            .select((
                SessionRow::as_select(),
                Option::<UserRow>::as_select(),
                external_identities::session_epoch.nullable(),
                restore_epoch!(),
                clock_timestamp(),
                pg_is_in_recovery(),
            ));
        self.run(StoreOperation::FindSession, async |connection, _| {
            let found: Option<Found> = prepared!(&query).get_result(connection).await.optional()?;
            let Some((session, user, identity, restore, now, is_standby)) = found else {
                require_primary(connection).await?;
                return Ok(None);
            };
            refuse_standby(is_standby)?;
            let person = user.map(|user| user.person(identity, restore)).transpose()?;
            let rotated_ago = session.rotated_at().map(|at| between(at, now)).unwrap_or_default();
            let (session, owner) = (session.try_into()?, SessionOwner::Loaded(person));
            Ok(Some(LoadedSession { session, rotated_ago, owner }))
        })
        .await
    }

    /// A concurrent write to the row is waited for, and the conditions on the session are checked again
    /// on the row as it has become: whatever ends sessions ends them in the transaction that raises the
    /// epoch, so that an exchange that waited finds the session ended.
    ///
    /// A call that is repeated because its answer was lost finds nothing, as does a statement that is
    /// carried out late: the use case then loads the session and finds a replay.
    async fn exchange(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        self.run(StoreOperation::Rotate, async |connection, _| {
            let successor = &rotation.successor;
            let values = [
                ("session", Value::Uuid(*rotation.session.as_uuid())),
                ("user", Value::Uuid(*rotation.user.as_uuid())),
                ("generation", Value::BigInt(generation(successor.generation)?)),
                ("presented", Value::Bytes(rotation.presented.hash.as_bytes())),
                ("successor", Value::Bytes(successor.hash.as_bytes())),
                ("key_id", Value::Text(successor.key_id.as_str())),
                ("issued_at", Value::at(successor.issued_at)?),
                ("expires_at", Value::at(successor.expires_at)?),
                ("idle_limit", Value::at(rotation.idle_expires_at)?),
                ("now", Value::at(rotation.now)?),
                ("roles", Value::MaybeTexts(names(rotation.roles.as_deref()))),
                ("grant_limit", Value::BigInt(grant_limit.map_or(i64::MAX, i64::from))),
            ];
            let exchange = Sql::<(Timestamptz, LastingColumns)>::new(&EXCHANGE, values);
            let rows: Vec<(PgTimestamp, LastingRow)> = exchange.get_results(connection).await?;
            let Some((rotated_at, lasting)) = rows.into_iter().next() else { return Ok(None) };
            Ok(Some(Box::new(lasting.rotated(rotation, rotated_at)?)))
        })
        .await
    }

    /// A statement that is carried out after its caller gave up finds another session than was seen, as
    /// soon as anything else was written. A call that is repeated because its answer was lost finds
    /// nothing either; the use case loads the session again and finds it rotated or ended. A replay
    /// whose answer was lost may be counted twice.
    async fn replace(
        &self,
        seen: &Session,
        change: SessionChange<'_>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let generation = generation(seen.refresh.generation)?;
        let previous = seen.previous.as_ref();
        let replays = previous.map_or(0, |previous| previous.replays);
        let replays = i16::try_from(replays).unwrap_or(i16::MAX);
        self.run(StoreOperation::Rotate, async |connection, _| {
            let unchanged = sessions::table
                .filter(sessions::id.eq(seen.id.as_uuid()))
                .filter(sessions::r#gen.eq(generation))
                .filter(sessions::cur_hash.eq(seen.refresh.hash.as_bytes().as_slice()))
                .filter(
                    sessions::prev_hash
                        .is_not_distinct_from(previous.map(|p| p.hash.as_bytes().as_slice())),
                )
                .filter(sessions::prev_replays.eq(replays))
                .filter(sessions::revoked_at.is_null());
            let rows = match change {
                SessionChange::Rotate(rotation) => {
                    let roles = names(rotation.roles.as_deref());
                    let rotate = diesel::update(unchanged)
                        .filter(user_is_in_good_standing!(seen.user.as_uuid()))
                        .set((
                            Successor::try_from(rotation)?,
                            sessions::rotated_at.eq(clock_timestamp().nullable()),
                            sessions::roles.eq(coalesce(roles, sessions::roles)),
                        ))
                        .returning(SessionRow::as_returning());
                    prepared!(rotate).load(connection).await?
                }
                SessionChange::CountReplay => {
                    let count = diesel::update(unchanged)
                        .set(sessions::prev_replays.eq(replays.saturating_add(1)))
                        .returning(SessionRow::as_returning());
                    prepared!(count).load(connection).await?
                }
                SessionChange::End(SessionEnd { at, reason }) => {
                    let end = diesel::update(unchanged)
                        .set((
                            sessions::revoked_at.eq(to_postgres(at)?),
                            sessions::revoke_reason.eq(reason.name()),
                        ))
                        .returning(SessionRow::as_returning());
                    prepared!(end).load(connection).await?
                }
            };
            Ok(written(rows)?)
        })
        .await
    }

    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let query = sessions::table
            .filter(sessions::user_id.eq(user.as_uuid()))
            .filter(sessions::revoked_at.is_null())
            .filter(sessions::cur_exp.gt(bound(now)))
            .filter(user_is_in_good_standing!(user.as_uuid()))
            .order((sessions::last_used_at.desc(), sessions::id.desc()))
            .limit(limit.into())
            .select((SessionRow::as_select(), pg_is_in_recovery()));
        self.run(StoreOperation::LiveSessions, async |connection, _| {
            let rows: Vec<(SessionRow, bool)> = (&query).load(connection).await?;
            match rows.as_slice().first() {
                Some((_, is_standby)) => refuse_standby(*is_standby)?,
                None => require_primary(connection).await?,
            }
            let rows = rows.into_iter().map(|(row, _)| row);
            Ok(rows.map(Session::try_from).collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A call that is repeated because its answer was lost finds the session ended before.
    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        let now = to_postgres(now)?;
        self.run(StoreOperation::EndSession, async |connection, _| {
            let values = [
                ("session", Value::Uuid(*id.as_uuid())),
                ("user", Value::Uuid(*user.as_uuid())),
                ("reason", Value::Text(reason.name())),
                ("now", Value::At(now)),
            ];
            let sql = Sql::<(Bool, Bool)>::new(&END, values);
            Ok(match sql.answer::<(bool, bool)>(connection).await? {
                (true, _) => EndOutcome::Ended,
                (false, true) => EndOutcome::EndedBefore,
                (false, false) => EndOutcome::Unknown,
            })
        })
        .await
    }

    async fn end_restored(
        &self,
        epoch: u64,
        after: Option<SessionId>,
        limit: u32,
        end: SessionEnd,
    ) -> Result<EndedStep, StoreError> {
        self.run(StoreOperation::EndUserSessions, async |connection, _| {
            ending::of_other_restore_epochs(connection, epoch, after, limit, end).await
        })
        .await
    }

    /// Of several calls with one order at once, one stores the mark; the others wait for it and write
    /// nothing.
    ///
    /// A call that is repeated because its answer was lost knows by the sessions it has ended that the
    /// mark is its own; where it has ended none, it finds the order carried out before.
    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        let end = SessionEnd { at: now, reason: RevokeReason::ProviderLogout };
        let (issuer, subject) = (&order.issuer, order.subject.as_deref());
        let sid = order.session.as_deref();
        let mark = SingleUse { hash: order.id, expires_at: order.expires_at };
        self.run(StoreOperation::EndProviderSessions, async |connection, attempt| {
            connection
                .transaction(async |connection| {
                    if claim(connection, &mark).await? {
                        if let (Some(subject), None) = (subject, sid) {
                            let (issuer, subject) = (issuer.clone(), subject.to_owned());
                            let identity = ExternalIdentity { issuer, subject };
                            raise_identity_epoch(connection, &identity).await?;
                        }
                        let ended = ending::of_order(connection, order, end).await?;
                        return Ok(ProviderLogoutOutcome::Ended(ended));
                    }
                    let ended = match attempt {
                        Attempt::First => 0,
                        Attempt::Repeated => {
                            ending::ended_by(connection, None, issuer, subject, sid, end).await?
                        }
                    };
                    Ok(match ended {
                        0 => ProviderLogoutOutcome::Replayed,
                        _ => ProviderLogoutOutcome::Ended(ended),
                    })
                })
                .await
        })
        .await
    }
}
