//! What operators do with people.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{
    Account, RevokeReason, Role, SearchText, SessionEnd, Timestamp, UserId,
};
use mintgate_domain::ports::{StoreError, StoreOperation, UserAdministration, UserChange};

use crate::error::Failure;
use crate::pool::Attempt;
use crate::schema::{external_identities, users};
use crate::search::{accounts, find};
use crate::sessions::ending;
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::{bound, to_postgres};
use crate::users::UserRow;

/// The second part of each tells a user who is as wanted from one who does not exist.
static ENABLE: SqlText = SqlText::new(
    "WITH changed AS (
        UPDATE users SET disabled_at = NULL, disabled_until = NULL WHERE id = $user AND disabled_at IS NOT NULL
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM changed), EXISTS (SELECT FROM users WHERE id = $user)",
);
static GRANT: SqlText = SqlText::new(
    "WITH changed AS (
        UPDATE users SET granted_roles = array_append(granted_roles, $role)
        WHERE id = $user AND $role <> ALL (granted_roles)
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM changed), EXISTS (SELECT FROM users WHERE id = $user)",
);
static REVOKE: SqlText = SqlText::new(
    "WITH changed AS (
        UPDATE users SET granted_roles = array_remove(granted_roles, $role)
        WHERE id = $user AND $role = ANY (granted_roles)
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM changed), EXISTS (SELECT FROM users WHERE id = $user)",
);

/// Locks the sessions in the order of their ids, as whatever ends many of them does, and keeps the ids of
/// those that may have valid access tokens.
static KEEP_IDS: SqlText = SqlText::new(
    "WITH own AS MATERIALIZED (
        SELECT id, revoked_at IS NULL AND cur_exp > $now AS live,
            least(coalesce(revoked_at, cur_exp), $now) AS ended_at,
            CASE WHEN revoked_at IS NOT NULL THEN revoke_reason
                WHEN cur_exp > $now THEN NULL
                WHEN cur_exp >= absolute_expires_at THEN 'expired_absolute'
                ELSE 'expired_idle' END AS end_reason
        FROM sessions WHERE user_id = $user ORDER BY id FOR UPDATE
    ), kept AS (
        INSERT INTO deleted_sessions (id, ended_at, forget_after, end_reason)
        SELECT id, ended_at, $forget_after, end_reason FROM own WHERE ended_at >= $since
    )
    SELECT count(*) FILTER (WHERE live) FROM own",
);

async fn change(
    connection: &mut AsyncPgConnection,
    text: &'static SqlText,
    values: Vec<(&'static str, Value<'_>)>,
) -> Result<UserChange, Failure> {
    Ok(match Sql::<(Bool, Bool)>::new(text, values).answer::<(bool, bool)>(connection).await? {
        (true, _) => UserChange::Changed,
        (false, true) => UserChange::AsBefore,
        (false, false) => UserChange::Unknown,
    })
}

#[async_trait]
impl UserAdministration for PgStore {
    async fn find_accounts(
        &self,
        search: Option<&SearchText>,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        self.search(async |connection, _| find(connection, search, after, limit).await).await
    }

    async fn account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        let query =
            users::table.find(user.as_uuid()).select((UserRow::as_select(), users::created_at));
        self.run(StoreOperation::Administration, async |connection, _| {
            let row = (&query).get_result(connection).await.optional()?;
            Ok(accounts(connection, row.into_iter().collect()).await?.pop())
        })
        .await
    }

    /// Raising the epoch waits for every sign-in of the user that is being committed, and the sessions
    /// are read afterwards, as in [`end_user_sessions`](mintgate_domain::ports::UserDirectory).
    ///
    /// A call that is repeated because its answer was lost knows its own work by the time.
    async fn disable_user(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<(UserChange, u64), StoreError> {
        let at = to_postgres(now)?;
        let end = SessionEnd { at: now, reason: RevokeReason::UserDisabled };
        self.run(StoreOperation::Administration, async |connection, attempt| {
            connection
                .transaction(async |connection| {
                    let row = users::table.find(user.as_uuid());
                    let before: Option<Option<PgTimestamp>> = row
                        .select(users::disabled_at)
                        .for_no_key_update()
                        .first(connection)
                        .await
                        .optional()?;
                    let Some(before) = before else { return Ok((UserChange::Unknown, 0)) };
                    diesel::update(row)
                        .set((
                            users::disabled_at.eq(before.unwrap_or(at)),
                            users::disabled_until.eq(None::<PgTimestamp>),
                            users::session_epoch.eq(users::session_epoch + 1),
                        ))
                        .execute(connection)
                        .await?;
                    let ended = ending::of_user(connection, user, end).await?;
                    let is_own = attempt == Attempt::Repeated && before == Some(at);
                    let is_new = before.is_none() || is_own;
                    let change = if is_new { UserChange::Changed } else { UserChange::AsBefore };
                    Ok((change, ended))
                })
                .await
        })
        .await
    }

    async fn enable_user(&self, user: UserId) -> Result<UserChange, StoreError> {
        let id = Value::Uuid(*user.as_uuid());
        self.run(StoreOperation::Administration, async |connection, _| {
            change(connection, &ENABLE, vec![("user", id.clone())]).await
        })
        .await
    }

    async fn grant_role(&self, user: UserId, role: &Role) -> Result<UserChange, StoreError> {
        let (id, role) = (Value::Uuid(*user.as_uuid()), Value::Text(role.as_str()));
        self.run(StoreOperation::Administration, async |connection, _| {
            let values = vec![("user", id.clone()), ("role", role.clone())];
            change(connection, &GRANT, values).await
        })
        .await
    }

    async fn revoke_role(&self, user: UserId, role: &Role) -> Result<UserChange, StoreError> {
        let (id, role) = (Value::Uuid(*user.as_uuid()), Value::Text(role.as_str()));
        self.run(StoreOperation::Administration, async |connection, _| {
            let values = vec![("user", id.clone()), ("role", role.clone())];
            change(connection, &REVOKE, values).await
        })
        .await
    }

    /// Locks the user, the identities and the sessions, in this order for everybody. A sign-in under way
    /// then finds no user; a refresh that has its session's row first is finished before, any other
    /// finds no session.
    ///
    /// A call that is repeated because its answer was lost finds no user: it was deleted by this call, or
    /// by another at the same time.
    async fn delete_user(
        &self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> Result<(UserChange, u64), StoreError> {
        use external_identities::{issuer, subject, user_id};
        let (at, until) = (to_postgres(now)?, to_postgres(forget_after)?);
        let since = Timestamp::from_unix(2 * now.as_unix() - forget_after.as_unix());
        self.run(StoreOperation::Administration, async |connection, attempt| {
            connection
                .transaction(async |connection| {
                    let row = users::table.find(user.as_uuid());
                    let locked = row.select(users::id).for_update().execute(connection).await?;
                    if locked == 0 {
                        return Ok(match attempt {
                            Attempt::First => (UserChange::Unknown, 0),
                            Attempt::Repeated => (UserChange::Changed, 0),
                        });
                    }
                    external_identities::table
                        .filter(user_id.eq(user.as_uuid()))
                        .order((issuer, subject))
                        .select(subject)
                        .for_update()
                        .execute(connection)
                        .await?;
                    let values = [
                        ("user", Value::Uuid(*user.as_uuid())),
                        ("now", Value::At(at)),
                        ("forget_after", Value::At(until)),
                        ("since", Value::At(bound(since))),
                    ];
                    let live: i64 =
                        Sql::<BigInt>::new(&KEEP_IDS, values).answer(connection).await?;
                    // What belongs to the user goes with the row, by foreign keys.
                    diesel::delete(row).execute(connection).await?;
                    Ok((UserChange::Changed, live.unsigned_abs()))
                })
                .await
        })
        .await
    }
}
