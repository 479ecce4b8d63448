//! The sessions, one row each.

mod changing;
mod ending;
mod opening;
mod row;

use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::expression::BoxableExpression;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::Sqlite;
use mintgate_domain::model::{
    RevokeReason, Rotation, Session, SessionEnd, SessionId, SessionOpening, Timestamp, UserId,
};
use mintgate_domain::ports::{
    EndOutcome, EndedStep, LoadedSession, LogoutOrder, OpenOutcome, ProviderLogoutOutcome,
    RefreshTokenRepo, SessionChange, SessionOwner, StoreError, StoreOperation,
};

use changing::{count_replay, end_unchanged, exchange, rotate};
use ending::{Ended, carry_out, end_restored};
use opening::open;

pub(crate) use ending::end_live;
pub(crate) use row::{SessionRow, signed};

use crate::schema::{external_identities, restore_epoch, sessions, users};
use crate::store::SqliteStore;
use crate::users::{UserRow, person};

/// A session with its user, the epoch of its identity, and the restore epoch.
type Found = (SessionRow, Option<UserRow>, Option<i64>, Option<i64>);

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
            let found: Option<Found> = sessions::table
                .left_join(users::table)
                .left_join(external_identities::table.on(identity))
                .filter(sessions::id.eq(id.as_uuid().as_bytes().as_slice()))
                .select((
                    SessionRow::as_select(),
                    Option::<UserRow>::as_select(),
                    external_identities::session_epoch.nullable(),
                    restore_epoch!(),
                ))
                .get_result(connection)
                .optional()?;
            let Some((session, user, identity, restore)) = found else { return Ok(None) };
            let owner = user.map(|user| person((user, identity, restore))).transpose()?;
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
            exchange(connection, &rotation, grant_limit, clock.now().into())
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
                    rotate(connection, &seen, &rotation, clock.now().into())
                };
                self.write(StoreOperation::Rotate, work).await
            }
            SessionChange::CountReplay => {
                let work = move |connection: &mut _| count_replay(connection, &seen);
                self.write(StoreOperation::Rotate, work).await
            }
            SessionChange::End(end) => {
                let work = move |connection: &mut _| end_unchanged(connection, &seen, end);
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
                .filter(restore_epoch!().eq(sessions::restore_epoch.nullable()))
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

    async fn end_restored(
        &self,
        epoch: u64,
        after: Option<SessionId>,
        limit: u32,
        end: SessionEnd,
    ) -> Result<EndedStep, StoreError> {
        let work = move |connection: &mut _| end_restored(connection, epoch, after, limit, end);
        self.write(StoreOperation::EndUserSessions, work).await
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
