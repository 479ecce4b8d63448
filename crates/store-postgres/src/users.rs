//! Users and the identities they are known by.

use std::sync::OnceLock;

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Uuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{
    ExternalIdentity, LinkedIdentity, NewIdentity, NewUser, Person, Profile, ProviderId,
    RevokeReason, SessionEnd, SessionId, SingleUse, Timestamp, User, UserId,
};
use mintgate_domain::ports::{
    LinkOutcome, StoreError, StoreOperation, UnlinkOutcome, UserDirectory,
};

use crate::error::{Failure, RowName, violated_index};
use crate::pool::Attempt;
use crate::schema::{external_identities, restore_epoch, users};
use crate::sessions::ending::{self, ended_by};
use crate::sql::{Sql, SqlText, Value, prepared};
use crate::store::PgStore;

/// A row of `users`, without what is only written.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(Pg))]
pub(crate) struct UserRow {
    id: uuid::Uuid,
    granted_roles: Vec<Option<String>>,
    disabled_at: Option<PgTimestamp>,
    session_epoch: i64,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    picture: Option<String>,
}

impl UserRow {
    pub(crate) fn user(self) -> Result<User, StoreError> {
        let row = RowName { table: "users", id: &self.id };
        Ok(User {
            id: UserId::from_uuid(self.id),
            disabled_at: row.maybe_time("disabled_at", self.disabled_at)?,
            granted_roles: row.roles("granted_roles", self.granted_roles)?,
            session_epoch: row.number("session_epoch", self.session_epoch)?,
            profile: Profile {
                name: self.name,
                preferred_username: self.preferred_username,
                email: self.email,
                picture: self.picture,
            },
        })
    }

    /// The user with the epoch of one identity, `None` where the user does not have the identity, and
    /// with the restore epoch as it was read.
    pub(crate) fn person(
        self,
        identity_epoch: Option<i64>,
        restore_epoch: Option<i64>,
    ) -> Result<Person, StoreError> {
        let user = self.user()?;
        let row = RowName { table: "external_identities", id: &user.id };
        let identity_epoch =
            identity_epoch.map(|epoch| row.number("session_epoch", epoch)).transpose()?;
        Ok(Person { user, identity_epoch, restore_epoch: read_restore_epoch(restore_epoch)? })
    }
}

fn read_restore_epoch(epoch: Option<i64>) -> Result<u64, StoreError> {
    let row = RowName { table: "restores", id: &1 };
    row.number("epoch", epoch.ok_or_else(|| row.corrupt("epoch"))?)
}

/// Creates the user and the identity, or neither: where the identity exists, its primary key refuses
/// the whole statement.
static CREATE: SqlText = SqlText::new(
    "WITH person AS (
        INSERT INTO users (id, created_at) VALUES ($user, $now)
        RETURNING id, identity_epoch_floor
    )
    INSERT INTO external_identities (issuer, subject, provider, user_id, created_at, session_epoch)
    SELECT $issuer, $subject, $provider, id, $now, identity_epoch_floor FROM person
    RETURNING (SELECT epoch FROM restores)",
);

/// The time, or one more than before: an epoch that was undone by a restore never comes again.
static RAISE_RESTORE_EPOCH: SqlText =
    SqlText::new("UPDATE restores SET epoch = GREATEST(epoch + 1, $now) RETURNING epoch");

/// - `person` locks the user's row against being disabled until the link is committed.
/// - `found` is what was there before. Several links at once may all find nothing; then the primary
///   keys let one through and refuse the others' whole statement, mark and all.
/// - The mark is written before the identity, in the order in which a sign-in writes them: two
///   statements that bring the same cannot wait for each other.
static LINK: SqlText = SqlText::new(
    "WITH person AS MATERIALIZED (
        SELECT id, identity_epoch_floor FROM users
        WHERE id = $user AND disabled_at IS NULL FOR SHARE
    ), found AS MATERIALIZED (
        SELECT EXISTS (SELECT FROM single_use_marks WHERE hash = $mark) AS used,
            (SELECT user_id FROM external_identities
                WHERE issuer = $issuer AND subject = $subject) AS owner
    ), admitted AS MATERIALIZED (
        SELECT person.id, person.identity_epoch_floor, found.owner FROM person, found
        WHERE NOT found.used AND (found.owner IS NULL OR found.owner = person.id)
    ), marked AS (
        INSERT INTO single_use_marks (hash, expires_at)
        SELECT $mark, $mark_until FROM admitted WHERE $mark IS NOT NULL
        RETURNING hash
    ), linked AS (
        INSERT INTO external_identities
            (issuer, subject, provider, user_id, created_at, session_epoch)
        SELECT $issuer, $subject, $provider, id, $now, identity_epoch_floor FROM admitted
        WHERE owner IS NULL AND (SELECT count(*) FROM marked) >= 0
    )
    SELECT EXISTS (SELECT FROM person), found.used, found.owner FROM found",
);

async fn find_user(
    connection: &mut AsyncPgConnection,
    identity: &ExternalIdentity,
) -> Result<Option<Person>, Failure> {
    let query = external_identities::table
        .inner_join(users::table)
        .filter(external_identities::issuer.eq(&identity.issuer))
        .filter(external_identities::subject.eq(&identity.subject))
        .select((UserRow::as_select(), external_identities::session_epoch, restore_epoch!()));
    let found: Option<(UserRow, i64, Option<i64>)> =
        prepared!(query).get_result(connection).await.optional()?;
    Ok(found.map(|(user, epoch, restore)| user.person(Some(epoch), restore)).transpose()?)
}

/// The values of a new identity.
fn identity_values<'a>(
    user: UserId,
    identity: &'a ExternalIdentity,
    provider: &'a ProviderId,
    now: Timestamp,
) -> Result<Vec<(&'static str, Value<'a>)>, StoreError> {
    Ok(vec![
        ("user", Value::Uuid(*user.as_uuid())),
        ("issuer", Value::Text(&identity.issuer)),
        ("subject", Value::Text(&identity.subject)),
        ("provider", Value::Text(provider.as_str())),
        ("now", Value::at(now)?),
    ])
}

#[async_trait]
impl UserDirectory for PgStore {
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<Person>, StoreError> {
        let work =
            async |connection: &mut AsyncPgConnection, _| find_user(connection, identity).await;
        self.run(StoreOperation::FindUser, work).await
    }

    /// A call that is repeated because its answer was lost finds the user it has created.
    async fn find_or_create(&self, new: &NewUser) -> Result<Person, StoreError> {
        let NewUser { id, identity, provider, now } = new;
        let overtaken = OnceLock::new();
        self.run(StoreOperation::CreateUser, async |connection, _| {
            if overtaken.get().is_some()
                && let Some(person) = find_user(connection, identity).await?
            {
                return Ok(person);
            }
            let values = identity_values(*id, identity, provider, *now)?;
            match Sql::<Nullable<BigInt>>::new(&CREATE, values).answer(connection).await {
                Ok(restore) => {
                    let (disabled_at, granted_roles) = (None, vec![]);
                    let user = User {
                        id: *id,
                        disabled_at,
                        granted_roles,
                        session_epoch: 0,
                        profile: Profile::default(),
                    };
                    let restore_epoch = read_restore_epoch(restore)?;
                    Ok(Person { user, identity_epoch: Some(0), restore_epoch })
                }
                Err(error) if violated_index(&error).is_some() => {
                    overtaken.get_or_init(|| ());
                    Err(Failure::Overtaken)
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn find_person(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
    ) -> Result<Option<Person>, StoreError> {
        let linked = external_identities::user_id
            .eq(users::id)
            .and(external_identities::issuer.eq(&identity.issuer))
            .and(external_identities::subject.eq(&identity.subject));
        let query = users::table
            .left_join(external_identities::table.on(linked))
            .filter(users::id.eq(user.as_uuid()))
            .select((
                UserRow::as_select(),
                external_identities::session_epoch.nullable(),
                restore_epoch!(),
            ));
        self.run(StoreOperation::FindUser, async |connection, _| {
            let found = prepared!(&query)
                .get_result::<(UserRow, Option<i64>, Option<i64>)>(connection)
                .await
                .optional()?;
            Ok(found.map(|(user, epoch, restore)| user.person(epoch, restore)).transpose()?)
        })
        .await
    }

    async fn keep_profile(&self, user: UserId, profile: &Profile) -> Result<(), StoreError> {
        let query = diesel::update(users::table.find(user.as_uuid())).set((
            users::name.eq(&profile.name),
            users::preferred_username.eq(&profile.preferred_username),
            users::email.eq(&profile.email),
            users::picture.eq(&profile.picture),
            users::searched.eq(profile.searched()),
        ));
        self.run(StoreOperation::KeepProfile, async |connection, _| {
            prepared!(&query).execute(connection).await?;
            Ok(())
        })
        .await
    }

    async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        use external_identities as linked;
        let query = linked::table
            .filter(linked::user_id.eq(user.as_uuid()))
            .order((linked::created_at, linked::issuer, linked::subject))
            .select((linked::issuer, linked::subject, linked::provider, linked::created_at));
        self.run(StoreOperation::Identities, async |connection, _| {
            let rows: Vec<(String, String, String, PgTimestamp)> =
                (&query).load(connection).await?;
            let row = RowName { table: "external_identities", id: user.as_uuid() };
            let identities = rows.into_iter().map(|(issuer, subject, provider, linked_at)| {
                Ok(LinkedIdentity {
                    identity: ExternalIdentity { issuer, subject },
                    provider: ProviderId::new(provider),
                    linked_at: row.time("created_at", linked_at)?,
                })
            });
            identities.collect()
        })
        .await
    }

    /// A call that is repeated because its answer was lost finds its own mark, and the identity linked.
    async fn link_identity(
        &self,
        user: UserId,
        identity: &NewIdentity,
        single_use: Option<SingleUse>,
    ) -> Result<LinkOutcome, StoreError> {
        let NewIdentity { identity, provider, now } = identity;
        let mark = single_use.as_ref();
        self.run(StoreOperation::LinkIdentity, async |connection, attempt| {
            let mut values = identity_values(user, identity, provider, *now)?;
            values.extend([
                ("mark", Value::MaybeBytes(mark.map(|mark| mark.hash.as_bytes().as_slice()))),
                ("mark_until", Value::maybe_at(mark.map(|mark| mark.expires_at))?),
            ]);
            let sql = Sql::<(Bool, Bool, Nullable<Uuid>)>::new(&LINK, values);
            let found = sql.answer::<(bool, bool, Option<uuid::Uuid>)>(connection).await;
            let (is_enabled, is_used, owner) = match found {
                Ok(found) => found,
                Err(error) if violated_index(&error).is_some() => return Err(Failure::Overtaken),
                Err(error) => return Err(error.into()),
            };
            let is_own = owner == Some(*user.as_uuid());
            Ok(match owner {
                _ if !is_enabled => LinkOutcome::UserDisabled,
                _ if is_used && is_own && attempt == Attempt::Repeated => LinkOutcome::LinkedBefore,
                _ if is_used => LinkOutcome::Replayed,
                None => LinkOutcome::Linked,
                Some(_) if is_own => LinkOutcome::LinkedBefore,
                Some(_) => LinkOutcome::Taken,
            })
        })
        .await
    }

    /// Locks the user, then all identities of the user, in one order for everybody: two unlinkings at
    /// once cannot both find another identity left, and no sign-in, which locks the same rows, commits
    /// in between. So what is read behind the locks holds until the commit: the sessions that end are
    /// all there are.
    ///
    /// A call that is repeated because its answer was lost knows by the sessions it has ended that the
    /// unlinking was its own; where it has ended none, the identity is unknown to it.
    async fn unlink_identity(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<UnlinkOutcome, StoreError> {
        use external_identities::{issuer, session_epoch, subject, user_id};
        let end = SessionEnd { at: now, reason };
        self.run(StoreOperation::UnlinkIdentity, async |connection, attempt| {
            connection
                .transaction(async |connection| {
                    let person = users::table.find(user.as_uuid()).select(users::id);
                    person.for_no_key_update().execute(connection).await?;
                    let own: Vec<(String, String, i64)> = external_identities::table
                        .filter(user_id.eq(user.as_uuid()))
                        .order((issuer, subject))
                        .select((issuer, subject, session_epoch))
                        .for_update()
                        .load(connection)
                        .await?;
                    let is_named = |(i, s, _): &&(String, String, i64)| {
                        *i == identity.issuer && *s == identity.subject
                    };
                    let Some((_, _, epoch)) = own.iter().find(is_named) else {
                        return Ok(match attempt {
                            Attempt::First => UnlinkOutcome::Unknown,
                            Attempt::Repeated => {
                                match ended_by(
                                    connection,
                                    Some(user),
                                    &identity.issuer,
                                    Some(&identity.subject),
                                    None,
                                    end,
                                )
                                .await?
                                {
                                    0 => UnlinkOutcome::Unknown,
                                    ended => UnlinkOutcome::Unlinked { ended },
                                }
                            }
                        });
                    };
                    if own.len() == 1 {
                        return Ok(UnlinkOutcome::Last);
                    }
                    diesel::delete(
                        external_identities::table.find((&identity.issuer, &identity.subject)),
                    )
                    .execute(connection)
                    .await?;
                    // An identity that is linked again must not get an epoch that it has had before.
                    diesel::update(users::table.find(user.as_uuid()))
                        .filter(users::identity_epoch_floor.le(epoch))
                        .set(users::identity_epoch_floor.eq(epoch + 1))
                        .execute(connection)
                        .await?;
                    let ended = ending::of_unlinked(connection, user, identity, keep, end).await?;
                    Ok(UnlinkOutcome::Unlinked { ended })
                })
                .await
        })
        .await
    }

    /// Raising the epoch waits for every sign-in of the user that is being committed, and the sessions
    /// are read afterwards: those sign-ins' sessions end too, and later ones have the new epoch.
    ///
    /// A call that is repeated because its answer was lost raises the epoch again, and ends what has
    /// not ended.
    async fn end_user_sessions(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let raised = diesel::update(users::table.find(user.as_uuid()))
            .set(users::session_epoch.eq(users::session_epoch + 1));
        self.run(StoreOperation::EndUserSessions, async |connection, _| {
            connection
                .transaction(async |connection| {
                    (&raised).execute(connection).await?;
                    ending::of_user(connection, user, SessionEnd { at: now, reason }).await
                })
                .await
        })
        .await
    }

    /// A call that is repeated because its answer was lost raises the epoch again.
    async fn raise_restore_epoch(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.run(StoreOperation::EndUserSessions, async |connection, _| {
            let values = [("now", Value::BigInt(now.as_unix()))];
            let raised = Sql::<BigInt>::new(&RAISE_RESTORE_EPOCH, values);
            Ok(read_restore_epoch(Some(raised.answer(connection).await?))?)
        })
        .await
    }

    /// As [`end_user_sessions`](Self::end_user_sessions), of an identity.
    async fn end_identity_sessions(
        &self,
        identity: &ExternalIdentity,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.run(StoreOperation::EndIdentitySessions, async |connection, _| {
            connection
                .transaction(async |connection| {
                    raise_identity_epoch(connection, identity).await?;
                    ending::of_identity(connection, identity, SessionEnd { at: now, reason }).await
                })
                .await
        })
        .await
    }
}

/// Raises the session epoch of an identity, if somebody has the identity.
pub(crate) async fn raise_identity_epoch(
    connection: &mut AsyncPgConnection,
    identity: &ExternalIdentity,
) -> Result<(), Failure> {
    use external_identities::session_epoch;
    diesel::update(external_identities::table.find((&identity.issuer, &identity.subject)))
        .set(session_epoch.eq(session_epoch + 1))
        .execute(connection)
        .await?;
    Ok(())
}
