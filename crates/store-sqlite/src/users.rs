//! The users, and the identities they are known by.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use mintgate_domain::model::{
    ExternalIdentity, LinkedIdentity, NewIdentity, NewUser, Person, Profile, ProviderId,
    RevokeReason, SessionEnd, SessionId, SingleUse, Timestamp, User, UserId,
};
use mintgate_domain::ports::{
    LinkOutcome, StoreError, StoreOperation, UnlinkOutcome, UserDirectory,
};

use crate::error::Failure;
use crate::once_marks;
use crate::row::{Hex, Row};
use crate::schema::{external_identities, restore_epoch, restores, sessions, users};
use crate::sessions::{Condition, end_live, of_identity, signed};
use crate::store::SqliteStore;

#[async_trait]
impl UserDirectory for SqliteStore {
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<Person>, StoreError> {
        let identity = identity.clone();
        let work = move |connection: &mut _| find_user(connection, &identity);
        self.read(StoreOperation::FindUser, work).await
    }

    async fn find_or_create(&self, new: &NewUser) -> Result<Person, StoreError> {
        let new = new.clone();
        let work = move |connection: &mut _| {
            if let Some(person) = find_user(connection, &new.identity)? {
                return Ok(person);
            }
            let id = new.id.as_uuid().as_bytes().as_slice();
            diesel::insert_into(users::table)
                .values((users::id.eq(id), users::created_at.eq(new.now.as_unix())))
                .execute(connection)?;
            let NewUser { id, identity, provider, now } = new;
            let epoch = 0;
            insert_identity(connection, id, &NewIdentity { identity, provider, now }, epoch)?;
            let (granted_roles, profile) = (vec![], Profile::default());
            let user = User { id, disabled_at: None, granted_roles, session_epoch: 0, profile };
            let restore = diesel::select(restore_epoch!()).get_result(connection)?;
            let (identity_epoch, restore_epoch) = (Some(0), read_restore_epoch(restore)?);
            Ok(Person { user, identity_epoch, restore_epoch })
        };
        self.write(StoreOperation::CreateUser, work).await
    }

    async fn find_person(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
    ) -> Result<Option<Person>, StoreError> {
        let identity = identity.clone();
        let work = move |connection: &mut _| find_person(connection, user, &identity);
        self.read(StoreOperation::FindUser, work).await
    }

    async fn keep_profile(&self, user: UserId, profile: &Profile) -> Result<(), StoreError> {
        let profile = profile.clone();
        let work = move |connection: &mut _| keep_profile(connection, user, profile);
        self.write(StoreOperation::KeepProfile, work).await
    }

    async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        let work = move |connection: &mut _| {
            // Identities of the same second come in an order that is always the same.
            let rows = external_identities::table
                .filter(external_identities::user_id.eq(user.as_uuid().as_bytes().as_slice()))
                .order((
                    external_identities::created_at,
                    external_identities::issuer,
                    external_identities::subject,
                ))
                .select(IdentityRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(LinkedIdentity::from).collect())
        };
        self.read(StoreOperation::Identities, work).await
    }

    async fn link_identity(
        &self,
        user: UserId,
        identity: &NewIdentity,
        single_use: Option<SingleUse>,
    ) -> Result<LinkOutcome, StoreError> {
        let new = identity.clone();
        let work = move |connection: &mut _| link(connection, user, &new, single_use);
        self.write(StoreOperation::LinkIdentity, work).await
    }

    async fn unlink_identity(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<UnlinkOutcome, StoreError> {
        let (identity, end) = (identity.clone(), SessionEnd { at: now, reason });
        let work = move |connection: &mut _| unlink(connection, user, &identity, keep, end);
        self.write(StoreOperation::UnlinkIdentity, work).await
    }

    async fn end_user_sessions(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let work = move |connection: &mut _| {
            let id = user.as_uuid().as_bytes().as_slice();
            diesel::update(users::table.find(id))
                .set(users::session_epoch.eq(users::session_epoch + 1))
                .execute(connection)?;
            let own = Box::new(sessions::user_id.eq(id));
            Ok(end_live(connection, own, SessionEnd { at: now, reason })?)
        };
        self.write(StoreOperation::EndUserSessions, work).await
    }

    async fn end_identity_sessions(
        &self,
        identity: &ExternalIdentity,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let identity = identity.clone();
        let work = move |connection: &mut _| {
            let ExternalIdentity { issuer, subject } = &identity;
            raise_identity_epoch(connection, issuer, subject)?;
            let end = SessionEnd { at: now, reason };
            Ok(end_live(connection, of_identity(issuer, subject), end)?)
        };
        self.write(StoreOperation::EndIdentitySessions, work).await
    }

    async fn raise_restore_epoch(&self, now: Timestamp) -> Result<u64, StoreError> {
        let work = move |connection: &mut _| raise_restore_epoch(connection, now);
        self.write(StoreOperation::EndUserSessions, work).await
    }
}

/// The time, or one more than before: an epoch that was undone by a restore never comes again.
fn raise_restore_epoch(connection: &mut SqliteConnection, now: Timestamp) -> Result<u64, Failure> {
    let before = diesel::select(restore_epoch!()).get_result(connection)?;
    let raised = signed(read_restore_epoch(before)?).saturating_add(1).max(now.as_unix());
    diesel::update(restores::table).set(restores::epoch.eq(raised)).execute(connection)?;
    Ok(read_restore_epoch(Some(raised))?)
}

/// Replaces what is kept of a user; a user that does not exist is no error.
pub(crate) fn keep_profile(
    connection: &mut SqliteConnection,
    user: UserId,
    profile: Profile,
) -> Result<(), Failure> {
    diesel::update(users::table.find(user.as_uuid().as_bytes().as_slice()))
        .set((
            users::searched.eq(profile.searched()),
            users::name.eq(profile.name),
            users::preferred_username.eq(profile.preferred_username),
            users::email.eq(profile.email),
            users::picture.eq(profile.picture),
        ))
        .execute(connection)?;
    Ok(())
}

/// A user's columns, without those that are only written.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct UserRow {
    id: Vec<u8>,
    granted_roles: String,
    disabled_at: Option<i64>,
    session_epoch: i64,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    picture: Option<String>,
}

/// A user, the epoch of one identity if it is the user's, and the restore epoch.
pub(crate) type PersonRow = (UserRow, Option<i64>, Option<i64>);

fn read_restore_epoch(epoch: Option<i64>) -> Result<u64, StoreError> {
    let row = Row { table: "restores", id: &1 };
    row.number("epoch", epoch.ok_or_else(|| row.corrupt("epoch"))?)
}

impl UserRow {
    pub(crate) fn user(self) -> Result<User, StoreError> {
        let row = Row { table: "users", id: &Hex(&self.id) };
        Ok(User {
            id: UserId::from_uuid(row.uuid("id", &self.id)?),
            disabled_at: self.disabled_at.map(Timestamp::from_unix),
            granted_roles: row.roles("granted_roles", &self.granted_roles)?,
            session_epoch: row.number("session_epoch", self.session_epoch)?,
            profile: Profile {
                name: self.name,
                preferred_username: self.preferred_username,
                email: self.email,
                picture: self.picture,
            },
        })
    }
}

pub(crate) fn person((user, identity_epoch, restore): PersonRow) -> Result<Person, StoreError> {
    let user = user.user()?;
    let epoch = |number| {
        let id = &format_args!("of user {}", user.id);
        Row { table: "external_identities", id }.number("session_epoch", number)
    };
    let identity_epoch = identity_epoch.map(epoch).transpose()?;
    Ok(Person { user, identity_epoch, restore_epoch: read_restore_epoch(restore)? })
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = external_identities)]
pub(crate) struct IdentityRow {
    issuer: String,
    subject: String,
    provider: String,
    created_at: i64,
}

impl From<IdentityRow> for LinkedIdentity {
    fn from(row: IdentityRow) -> Self {
        Self {
            identity: ExternalIdentity { issuer: row.issuer, subject: row.subject },
            provider: ProviderId::new(row.provider),
            linked_at: Timestamp::from_unix(row.created_at),
        }
    }
}

fn find_user(
    connection: &mut SqliteConnection,
    identity: &ExternalIdentity,
) -> Result<Option<Person>, Failure> {
    let found: Option<PersonRow> = external_identities::table
        .find((&identity.issuer, &identity.subject))
        .inner_join(users::table)
        .select((
            UserRow::as_select(),
            external_identities::session_epoch.nullable(),
            restore_epoch!(),
        ))
        .get_result(connection)
        .optional()?;
    Ok(found.map(person).transpose()?)
}

pub(crate) fn find_person(
    connection: &mut SqliteConnection,
    user: UserId,
    identity: &ExternalIdentity,
) -> Result<Option<Person>, Failure> {
    let linked = external_identities::user_id
        .eq(users::id)
        .and(external_identities::issuer.eq(&identity.issuer))
        .and(external_identities::subject.eq(&identity.subject));
    let found: Option<PersonRow> = users::table
        .find(user.as_uuid().as_bytes().as_slice())
        .left_join(external_identities::table.on(linked))
        .select((
            UserRow::as_select(),
            external_identities::session_epoch.nullable(),
            restore_epoch!(),
        ))
        .get_result(connection)
        .optional()?;
    Ok(found.map(person).transpose()?)
}

pub(crate) fn insert_identity(
    connection: &mut SqliteConnection,
    user: UserId,
    new: &NewIdentity,
    epoch: i64,
) -> QueryResult<()> {
    let row = (
        external_identities::issuer.eq(&new.identity.issuer),
        external_identities::subject.eq(&new.identity.subject),
        external_identities::provider.eq(new.provider.as_str()),
        external_identities::user_id.eq(user.as_uuid().as_bytes().as_slice()),
        external_identities::created_at.eq(new.now.as_unix()),
        external_identities::session_epoch.eq(epoch),
    );
    diesel::insert_into(external_identities::table).values(row).execute(connection)?;
    Ok(())
}

/// Every check comes before the first write, so that a refusal has nothing to undo.
fn link(
    connection: &mut SqliteConnection,
    user: UserId,
    new: &NewIdentity,
    single_use: Option<SingleUse>,
) -> Result<LinkOutcome, Failure> {
    let id = user.as_uuid().as_bytes().as_slice();
    let epoch: Option<i64> = users::table
        .find(id)
        .filter(users::disabled_at.is_null())
        .select(users::identity_epoch_floor)
        .get_result(connection)
        .optional()?;
    let Some(epoch) = epoch else { return Ok(LinkOutcome::UserDisabled) };
    if let Some(mark) = &single_use
        && once_marks::is_claimed(connection, mark.hash)?
    {
        return Ok(LinkOutcome::Replayed);
    }
    let owner: Option<Vec<u8>> = external_identities::table
        .find((&new.identity.issuer, &new.identity.subject))
        .select(external_identities::user_id)
        .get_result(connection)
        .optional()?;
    let outcome = match owner {
        Some(owner) if owner != id => return Ok(LinkOutcome::Taken),
        Some(_) => LinkOutcome::LinkedBefore,
        None => {
            insert_identity(connection, user, new, epoch)?;
            LinkOutcome::Linked
        }
    };
    if let Some(mark) = &single_use {
        once_marks::claim(connection, mark)?;
    }
    Ok(outcome)
}

/// The write lock is held before the identities are counted: of several calls at once, one finds
/// the last identity and leaves it.
fn unlink(
    connection: &mut SqliteConnection,
    user: UserId,
    identity: &ExternalIdentity,
    keep: SessionId,
    end: SessionEnd,
) -> Result<UnlinkOutcome, Failure> {
    let ExternalIdentity { issuer, subject } = identity;
    let user = user.as_uuid().as_bytes().as_slice();
    let own = external_identities::table.filter(external_identities::user_id.eq(user));
    let named = own
        .filter(external_identities::issuer.eq(issuer))
        .filter(external_identities::subject.eq(subject));
    if !diesel::select(exists(named)).get_result::<bool>(connection)? {
        return Ok(UnlinkOutcome::Unknown);
    }
    if own.count().get_result::<i64>(connection)? == 1 {
        return Ok(UnlinkOutcome::Last);
    }
    let epoch: i64 = diesel::delete(named)
        .returning(external_identities::session_epoch)
        .get_result(connection)?;
    let lower = users::identity_epoch_floor.le(epoch);
    diesel::update(users::table.find(user).filter(lower))
        .set(users::identity_epoch_floor.eq(epoch + 1))
        .execute(connection)?;

    let keep = keep.as_uuid().as_bytes().as_slice();
    let opened_with_it = sessions::user_id
        .eq(user)
        .and(sessions::issuer.eq(issuer))
        .and(sessions::subject.eq(subject));
    let kept = sessions::table.find(keep).filter(opened_with_it);
    diesel::update(kept).set(sessions::identity_epoch.eq(None::<i64>)).execute(connection)?;
    let others: Condition<'_> = Box::new(opened_with_it.and(sessions::id.ne(keep)));
    let ended = end_live(connection, others, end)?;
    Ok(UnlinkOutcome::Unlinked { ended })
}

/// Ends, by one write, every session that was opened with an identity, wherever it is kept.
pub(crate) fn raise_identity_epoch(
    connection: &mut SqliteConnection,
    issuer: &str,
    subject: &str,
) -> QueryResult<()> {
    diesel::update(external_identities::table.find((issuer, subject)))
        .set(external_identities::session_epoch.eq(external_identities::session_epoch + 1))
        .execute(connection)?;
    Ok(())
}
