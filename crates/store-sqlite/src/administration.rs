//! What operators see and do.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use mintgate_domain::model::{
    Account, DeletedSession, RevokeReason, Role, SearchText, Session, SessionEnd, SessionId,
    Timestamp, UserId,
};
use mintgate_domain::ports::{
    SessionAdministration, StoreError, StoreOperation, UserAdministration, UserChange,
};

use crate::error::Failure;
use crate::json;
use crate::row::{Hex, Row};
use crate::schema::{deleted_sessions, sessions, users};
use crate::search::{self, accounts};

use crate::sessions::{SessionRow, end_live};
use crate::store::SqliteStore;
use crate::users::UserRow;

#[async_trait]
impl UserAdministration for SqliteStore {
    async fn find_accounts(
        &self,
        search: Option<&SearchText>,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        let (search, clock) = (search.cloned(), self.clock.clone());
        // An empty id sorts before every other.
        let after = after.map(|id| id.as_uuid().as_bytes().to_vec()).unwrap_or_default();
        let began = clock.monotonic();
        let is_late = move || clock.monotonic().saturating_sub(began) > search::TIME_LIMIT;
        let work = move |connection: &mut _| {
            search::find(connection, search.as_ref(), after, limit.into(), is_late)
        };
        self.observed(StoreOperation::FindAccounts, self.search.run(work)).await
    }

    async fn account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        let work = move |connection: &mut _| {
            let row = users::table
                .find(user.as_uuid().as_bytes().as_slice())
                .select((UserRow::as_select(), users::created_at))
                .get_result(connection)
                .optional()?;
            Ok(accounts(connection, row.into_iter().collect())?.pop())
        };
        self.read(StoreOperation::Administration, work).await
    }

    async fn disable_user(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<(UserChange, u64), StoreError> {
        let work = move |connection: &mut _| disable(connection, user, now);
        self.write(StoreOperation::Administration, work).await
    }

    async fn enable_user(&self, user: UserId) -> Result<UserChange, StoreError> {
        let work = move |connection: &mut _| {
            let row = users::table.find(user.as_uuid().as_bytes().as_slice());
            let enabled = diesel::update(row.filter(users::disabled_at.is_not_null()))
                .set((users::disabled_at.eq(None::<i64>), users::disabled_until.eq(None::<i64>)))
                .execute(connection)?;
            if enabled == 1 {
                return Ok(UserChange::Changed);
            }
            let is_there = diesel::select(exists(row)).get_result(connection)?;
            Ok(if is_there { UserChange::AsBefore } else { UserChange::Unknown })
        };
        self.write(StoreOperation::Administration, work).await
    }

    async fn grant_role(&self, user: UserId, role: &Role) -> Result<UserChange, StoreError> {
        let role = role.clone();
        let work = move |connection: &mut _| {
            change_roles(connection, user, |roles| {
                let is_new = !roles.contains(&role);
                roles.extend(Some(role).filter(|_| is_new));
            })
        };
        self.write(StoreOperation::Administration, work).await
    }

    async fn revoke_role(&self, user: UserId, role: &Role) -> Result<UserChange, StoreError> {
        let role = role.clone();
        let work = move |connection: &mut _| {
            change_roles(connection, user, |roles| roles.retain(|granted| *granted != role))
        };
        self.write(StoreOperation::Administration, work).await
    }

    async fn delete_user(
        &self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> Result<(UserChange, u64), StoreError> {
        let work = move |connection: &mut _| delete(connection, user, now, forget_after);
        self.write(StoreOperation::Administration, work).await
    }
}

#[async_trait]
impl SessionAdministration for SqliteStore {
    async fn user_sessions(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let work = move |connection: &mut _| {
            let mut page = sessions::table
                .filter(sessions::user_id.eq(user.as_uuid().as_bytes().as_slice()))
                .order(sessions::id.desc())
                .limit(limit.into())
                .select(SessionRow::as_select())
                .into_boxed();
            if let Some(before) = before {
                page = page.filter(sessions::id.lt(before.as_uuid().as_bytes().to_vec()));
            }
            let rows = page.load(connection)?;
            Ok(rows.into_iter().map(Session::try_from).collect::<Result<_, _>>()?)
        };
        self.read(StoreOperation::Administration, work).await
    }

    async fn deleted_session(&self, id: SessionId) -> Result<Option<DeletedSession>, StoreError> {
        let work = move |connection: &mut _| {
            let found: Option<(i64, i64, Option<String>)> = deleted_sessions::table
                .find(id.as_uuid().as_bytes().as_slice())
                .select((
                    deleted_sessions::ended_at,
                    deleted_sessions::forget_after,
                    deleted_sessions::end_reason,
                ))
                .get_result(connection)
                .optional()?;
            Ok(found.map(|(ended_at, forget_after, reason)| DeletedSession {
                ended_at: Timestamp::from_unix(ended_at),
                reason: reason
                    .map_or(RevokeReason::UserDeleted, |name| RevokeReason::from_name(&name)),
                forget_after: Timestamp::from_unix(forget_after),
            }))
        };
        self.read(StoreOperation::Administration, work).await
    }
}

fn disable(
    connection: &mut SqliteConnection,
    user: UserId,
    now: Timestamp,
) -> Result<(UserChange, u64), Failure> {
    let id = user.as_uuid().as_bytes().as_slice();
    let row = users::table.find(id);
    let disabled_at: Option<Option<i64>> =
        row.select(users::disabled_at).get_result(connection).optional()?;
    let Some(disabled_at) = disabled_at else { return Ok((UserChange::Unknown, 0)) };
    diesel::update(row)
        .set((
            users::disabled_at.eq(disabled_at.unwrap_or(now.as_unix())),
            users::disabled_until.eq(None::<i64>),
            users::session_epoch.eq(users::session_epoch + 1),
        ))
        .execute(connection)?;
    let end = SessionEnd { at: now, reason: RevokeReason::UserDisabled };
    let ended = end_live(connection, Box::new(sessions::user_id.eq(id)), end)?;
    let change = if disabled_at.is_some() { UserChange::AsBefore } else { UserChange::Changed };
    Ok((change, ended))
}

fn change_roles(
    connection: &mut SqliteConnection,
    user: UserId,
    change: impl FnOnce(&mut Vec<Role>),
) -> Result<UserChange, Failure> {
    let id = user.as_uuid().as_bytes().as_slice();
    let row = users::table.find(id);
    let stored: Option<String> =
        row.select(users::granted_roles).get_result(connection).optional()?;
    let Some(stored) = stored else { return Ok(UserChange::Unknown) };
    let before = Row { table: "users", id: &Hex(id) }.roles("granted_roles", &stored)?;
    let mut roles = before.clone();
    change(&mut roles);
    if roles == before {
        return Ok(UserChange::AsBefore);
    }
    let granted = users::granted_roles.eq(json::roles(&roles));
    diesel::update(row).set(granted).execute(connection)?;
    Ok(UserChange::Changed)
}

/// The id of a session, when and why it was ended, and its two limits.
type OwnSession = (Vec<u8>, Option<i64>, Option<String>, i64, i64);

/// What belongs to the user goes with the row, by foreign keys.
fn delete(
    connection: &mut SqliteConnection,
    user: UserId,
    now: Timestamp,
    forget_after: Timestamp,
) -> Result<(UserChange, u64), Failure> {
    let id = user.as_uuid().as_bytes().as_slice();
    let own: Vec<OwnSession> = sessions::table
        .filter(sessions::user_id.eq(id))
        .select((
            sessions::id,
            sessions::revoked_at,
            sessions::revoke_reason,
            sessions::cur_exp,
            sessions::absolute_expires_at,
        ))
        .load(connection)?;
    let (now, forget_after) = (now.as_unix(), forget_after.as_unix());
    let mut ended = 0;
    for (session, revoked_at, reason, expires_at, absolute) in own {
        let is_live = revoked_at.is_none() && expires_at > now;
        let limit = if expires_at >= absolute {
            RevokeReason::ExpiredAbsolute
        } else {
            RevokeReason::ExpiredIdle
        };
        let has_run_out = revoked_at.is_none() && !is_live;
        let reason = reason.or_else(|| has_run_out.then(|| limit.name().to_owned()));
        ended += u64::from(is_live);
        let ended_at = revoked_at.unwrap_or(expires_at).min(now);
        if ended_at < now.saturating_sub(forget_after.saturating_sub(now)) {
            continue;
        }
        diesel::insert_into(deleted_sessions::table)
            .values((
                deleted_sessions::id.eq(session),
                deleted_sessions::ended_at.eq(ended_at),
                deleted_sessions::forget_after.eq(forget_after),
                deleted_sessions::end_reason.eq(reason),
            ))
            .execute(connection)?;
    }
    let deleted = diesel::delete(users::table.find(id)).execute(connection)?;
    let change = if deleted == 1 { UserChange::Changed } else { UserChange::Unknown };
    Ok((change, ended))
}
