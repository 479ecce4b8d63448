//! People who come from another system.

use async_trait::async_trait;
use diesel::prelude::*;
use mintgate_domain::model::{
    Ban, ExternalIdentity, FormerId, ImportRecord, ImportedUser, NewIdentity, Timestamp, UserId,
};
use mintgate_domain::ports::{
    ImportOutcome, ImportQuestion, ImportedChange, PeopleImport, StoreError, StoreOperation,
    StoredPeople,
};

use crate::error::Failure;
use crate::json;
use crate::row::{Hex, Row};
use crate::schema::{external_identities, former_ids, users};
use crate::store::SqliteStore;
use crate::users::insert_identity;

#[async_trait]
impl PeopleImport for SqliteStore {
    async fn stored(&self, question: &ImportQuestion) -> Result<StoredPeople, StoreError> {
        let question = question.clone();
        let work = move |connection: &mut _| stored(connection, &question);
        self.read(StoreOperation::Import, work).await
    }

    async fn create(
        &self,
        source: &str,
        users: &[ImportedUser],
        now: Timestamp,
    ) -> Result<ImportOutcome, StoreError> {
        let (source, users) = (source.to_owned(), users.to_vec());
        let work = move |connection: &mut SqliteConnection| {
            if is_overtaken(connection, &source, &users)? {
                return Ok(ImportOutcome::Overtaken);
            }
            for user in &users {
                create(connection, &source, user, now)?;
            }
            Ok(ImportOutcome::Stored)
        };
        self.write(StoreOperation::Import, work).await
    }

    async fn change(
        &self,
        source: &str,
        change: &ImportedChange,
    ) -> Result<ImportOutcome, StoreError> {
        let (source, change) = (source.to_owned(), change.clone());
        let work = move |connection: &mut _| carry_out(connection, &source, &change);
        self.write(StoreOperation::Import, work).await
    }

    async fn set_ban(&self, user: UserId, ban: Ban) -> Result<(), StoreError> {
        let work = move |connection: &mut SqliteConnection| {
            let row = users::table.find(user.as_uuid().as_bytes().as_slice());
            diesel::update(row.filter(users::disabled_at.is_not_null()))
                .set(users::disabled_until.eq(until(ban)))
                .execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Import, work).await
    }

    async fn end_bans(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let ended = users::disabled_until.le(now.as_unix());
        let look = move |connection: &mut SqliteConnection| {
            let due = users::table.filter(ended).select(users::id).limit(limit.into());
            Ok(due.load::<Vec<u8>>(connection)?)
        };
        let due = self.read(StoreOperation::Import, look).await?;
        // The writer is left alone if there is nothing to do.
        if due.is_empty() {
            return Ok(0);
        }
        let work = move |connection: &mut SqliteConnection| {
            let rows = diesel::update(users::table.filter(users::id.eq_any(due)).filter(ended))
                .set((users::disabled_at.eq(None::<i64>), users::disabled_until.eq(None::<i64>)))
                .execute(connection)?;
            Ok(rows as u64)
        };
        self.write(StoreOperation::Import, work).await
    }

    async fn imported(
        &self,
        source: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, UserId)>, StoreError> {
        let (source, after) = (source.to_owned(), after.to_owned());
        let work = move |connection: &mut SqliteConnection| {
            let rows: Vec<(String, Vec<u8>)> = former_ids::table
                .filter(former_ids::source.eq(source))
                .filter(former_ids::former_id.gt(after))
                .filter(former_ids::position.eq(0))
                .order(former_ids::former_id)
                .limit(limit.into())
                .select((former_ids::former_id, former_ids::user_id))
                .load(connection)?;
            rows.into_iter().map(|(id, user)| Ok((id, user_id(&user)?))).collect()
        };
        self.read(StoreOperation::Import, work).await
    }

    async fn former_ids(&self, user: UserId) -> Result<Vec<FormerId>, StoreError> {
        let work = move |connection: &mut SqliteConnection| {
            let found = of_users(connection, &[user.as_uuid().as_bytes().as_slice()])?;
            Ok(found.into_iter().map(|(_, id)| id).collect())
        };
        self.read(StoreOperation::Import, work).await
    }

    async fn find_former(&self, id: &FormerId) -> Result<Option<UserId>, StoreError> {
        let id = id.clone();
        let work = move |connection: &mut _| owner_of(connection, &id.source, &id.id);
        self.read(StoreOperation::Import, work).await
    }
}

/// The former ids of several users, each with its user.
pub(crate) fn of_users(
    connection: &mut SqliteConnection,
    users: &[&[u8]],
) -> QueryResult<Vec<(Vec<u8>, FormerId)>> {
    let rows: Vec<(Vec<u8>, String, String)> = former_ids::table
        .filter(former_ids::user_id.eq_any(users))
        .order((former_ids::source, former_ids::position, former_ids::former_id))
        .select((former_ids::user_id, former_ids::source, former_ids::former_id))
        .load(connection)?;
    Ok(rows.into_iter().map(|(user, source, id)| (user, FormerId { source, id })).collect())
}

fn user_id(bytes: &[u8]) -> Result<UserId, StoreError> {
    let row = Row { table: "former_ids", id: &Hex(bytes) };
    Ok(UserId::from_uuid(row.uuid("user_id", bytes)?))
}

fn until(ban: Ban) -> Option<i64> {
    match ban {
        Ban::ForEver => None,
        Ban::Until(at) => Some(at.as_unix()),
    }
}

fn identity_owner(
    connection: &mut SqliteConnection,
    identity: &ExternalIdentity,
) -> Result<Option<UserId>, Failure> {
    let found: Option<Vec<u8>> = external_identities::table
        .find((&identity.issuer, &identity.subject))
        .select(external_identities::user_id)
        .get_result(connection)
        .optional()?;
    Ok(found.map(|user| user_id(&user)).transpose()?)
}

fn owner_of(
    connection: &mut SqliteConnection,
    source: &str,
    id: &str,
) -> Result<Option<UserId>, Failure> {
    let found: Option<Vec<u8>> = former_ids::table
        .find((id, source))
        .select(former_ids::user_id)
        .get_result(connection)
        .optional()?;
    Ok(found.map(|user| user_id(&user)).transpose()?)
}

fn is_taken(connection: &mut SqliteConnection, id: UserId) -> QueryResult<bool> {
    let row = users::table.find(id.as_uuid().as_bytes().as_slice());
    diesel::select(diesel::dsl::exists(row)).get_result(connection)
}

fn stored(
    connection: &mut SqliteConnection,
    question: &ImportQuestion,
) -> Result<StoredPeople, Failure> {
    let mut people = StoredPeople::default();
    for id in &question.former_ids {
        let found: Option<(Vec<u8>, Option<String>)> = former_ids::table
            .find((id, &question.source))
            .select((former_ids::user_id, former_ids::record))
            .get_result(connection)
            .optional()?;
        if let Some((user, record)) = found {
            people.former_ids.push((id.clone(), user_id(&user)?, record));
        }
    }
    for identity in &question.identities {
        let Some(owner) = identity_owner(connection, identity)? else { continue };
        people.identities.push((identity.clone(), owner));
        let of_source = former_ids::table
            .filter(former_ids::user_id.eq(owner.as_uuid().as_bytes().as_slice()))
            .filter(former_ids::source.eq(&question.source));
        if diesel::select(diesel::dsl::exists(of_source)).get_result(connection)? {
            people.imported.push(owner);
        }
    }
    for id in &question.ids {
        if is_taken(connection, *id)? {
            people.ids.push(*id);
        }
    }
    Ok(people)
}

/// Whether anything of these users belongs to somebody by now. The write lock is held, so nothing comes
/// between this and the writes.
fn is_overtaken(
    connection: &mut SqliteConnection,
    source: &str,
    users: &[ImportedUser],
) -> Result<bool, Failure> {
    for user in users {
        if is_taken(connection, user.id)? {
            return Ok(true);
        }
        for (identity, _) in &user.identities {
            if identity_owner(connection, identity)?.is_some() {
                return Ok(true);
            }
        }
        for id in &user.former_ids {
            if owner_of(connection, source, id)?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn create(
    connection: &mut SqliteConnection,
    source: &str,
    user: &ImportedUser,
    now: Timestamp,
) -> Result<(), Failure> {
    let profile = &user.profile;
    let ban = user.ban.and_then(|ban| ban.at(now));
    diesel::insert_into(users::table)
        .values((
            users::id.eq(user.id.as_uuid().as_bytes().as_slice()),
            users::granted_roles.eq(json::roles(&user.roles)),
            users::disabled_at.eq(ban.map(|_| now.as_unix())),
            users::disabled_until.eq(ban.and_then(until)),
            users::created_at.eq(user.created_at.as_unix()),
            users::name.eq(&profile.name),
            users::preferred_username.eq(&profile.preferred_username),
            users::email.eq(&profile.email),
            users::picture.eq(&profile.picture),
            users::searched.eq(profile.searched()),
        ))
        .execute(connection)?;
    for (identity, provider) in &user.identities {
        let (identity, provider) = (identity.clone(), provider.clone());
        insert_identity(connection, user.id, &NewIdentity { identity, provider, now }, 0)?;
    }
    keep_ids(connection, source, user.id, &ImportRecord::from(user))
}

/// Every check comes before the first write, so that there is nothing to undo.
fn carry_out(
    connection: &mut SqliteConnection,
    source: &str,
    change: &ImportedChange,
) -> Result<ImportOutcome, Failure> {
    let ImportedChange { user, link, now, record } = change;
    let floor: Option<i64> = users::table
        .find(user.as_uuid().as_bytes().as_slice())
        .select(users::identity_epoch_floor)
        .get_result(connection)
        .optional()?;
    let Some(floor) = floor else { return Ok(ImportOutcome::Overtaken) };
    let mut missing = vec![];
    for (identity, provider) in link {
        match identity_owner(connection, identity)? {
            Some(owner) if owner == *user => {}
            Some(_) => return Ok(ImportOutcome::Overtaken),
            None => missing.push((identity, provider)),
        }
    }
    for id in &record.former_ids {
        if owner_of(connection, source, id)?.is_some_and(|owner| owner != *user) {
            return Ok(ImportOutcome::Overtaken);
        }
    }
    for (identity, provider) in missing {
        let (identity, provider) = (identity.clone(), provider.clone());
        insert_identity(connection, *user, &NewIdentity { identity, provider, now: *now }, floor)?;
    }
    keep_ids(connection, source, *user, record)?;
    Ok(ImportOutcome::Stored)
}

/// Keeps the ids in their order; ids that the source does not name any more come last.
fn keep_ids(
    connection: &mut SqliteConnection,
    source: &str,
    user: UserId,
    record: &ImportRecord,
) -> Result<(), Failure> {
    let user = user.as_uuid().as_bytes().as_slice();
    let others = former_ids::table
        .filter(former_ids::user_id.eq(user))
        .filter(former_ids::source.eq(source))
        .filter(former_ids::position.eq(0));
    diesel::update(others)
        .set((former_ids::position.eq(1), former_ids::record.eq(None::<String>)))
        .execute(connection)?;
    for (position, id) in (0_i64..).zip(&record.former_ids) {
        let text = (position == 0).then(|| record.to_text());
        let kept = (former_ids::position.eq(position), former_ids::record.eq(text));
        diesel::insert_into(former_ids::table)
            .values((
                former_ids::former_id.eq(id),
                former_ids::source.eq(source),
                former_ids::user_id.eq(user),
                kept.clone(),
            ))
            .on_conflict((former_ids::former_id, former_ids::source))
            .do_update()
            .set(kept)
            .execute(connection)?;
    }
    Ok(())
}
