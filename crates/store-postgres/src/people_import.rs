//! People who come from another system.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{
    Ban, ExternalIdentity, FormerId, ImportRecord, ImportedUser, ProviderId, Role, Timestamp,
    UserId,
};
use mintgate_domain::ports::{
    ImportOutcome, ImportQuestion, ImportedChange, PeopleImport, StoreError, StoreOperation,
    StoredPeople,
};
use serde_json::{Value as Json, json};

use crate::error::{Failure, violated_index};
use crate::pool::Attempt;
use crate::schema::{former_ids, users};
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::{bound, to_postgres};

static STORED_IDS: SqlText = SqlText::new(
    "SELECT former_id, user_id, record FROM former_ids
    WHERE former_id = ANY ($ids) AND source = $source",
);
/// Each identity that is linked, and whether its user came from the source.
static STORED_IDENTITIES: SqlText = SqlText::new(
    "SELECT e.issuer, e.subject, e.user_id, EXISTS (
        SELECT FROM former_ids AS f WHERE f.user_id = e.user_id AND f.source = $source
    )
    FROM external_identities AS e
    JOIN unnest($issuers, $subjects) AS asked (issuer, subject)
        ON e.issuer = asked.issuer AND e.subject = asked.subject",
);
static STORED_USERS: SqlText =
    SqlText::new("SELECT id FROM users WHERE id = ANY ($ids::text[]::uuid[])");

/// Everything or nothing: where a row exists, its primary key refuses the whole statement.
static CREATE: SqlText = SqlText::new(
    "WITH person AS (
        INSERT INTO users (id, granted_roles, disabled_at, disabled_until, created_at, name,
            preferred_username, email, picture, searched)
        SELECT id, roles, CASE WHEN banned THEN $now END, to_timestamp(until), to_timestamp(created),
            name, username, email, picture, searched
        FROM json_to_recordset($people) AS p (id uuid, roles text[], banned boolean,
            until double precision, created double precision, name text, username text, email text,
            picture text, searched text)
        RETURNING id
    ), identity AS (
        INSERT INTO external_identities
            (issuer, subject, provider, user_id, created_at, session_epoch)
        SELECT issuer, subject, provider, id, $now, 0
        FROM json_to_recordset($identities) AS i
            (id uuid, issuer text, subject text, provider text)
    ), former AS (
        INSERT INTO former_ids (former_id, source, user_id, position, record)
        SELECT former_id, $source, id, position, record
        FROM json_to_recordset($former) AS f
            (id uuid, former_id text, position smallint, record text)
    )
    SELECT count(*) FROM person",
);

/// The identities that nobody has. Whoever has one of the others, and whoever has one of the former ids.
static LINK: SqlText = SqlText::new(
    "INSERT INTO external_identities (issuer, subject, provider, user_id, created_at, session_epoch)
    SELECT i.issuer, i.subject, i.provider, u.id, $now, u.identity_epoch_floor
    FROM json_to_recordset($identities) AS i (issuer text, subject text, provider text)
    JOIN users AS u ON u.id = $user
    WHERE NOT EXISTS (SELECT FROM external_identities AS e
        WHERE e.issuer = i.issuer AND e.subject = i.subject AND e.user_id = $user)",
);
static KEEP_IDS: SqlText = SqlText::new(
    "INSERT INTO former_ids AS f (former_id, source, user_id, position, record)
    SELECT n.former_id, $source, $user, n.position, n.record
    FROM json_to_recordset($former) AS n (former_id text, position smallint, record text)
    ON CONFLICT ON CONSTRAINT former_ids_pkey DO UPDATE
    SET position = EXCLUDED.position, record = EXCLUDED.record WHERE f.user_id = $user",
);

/// A user who is being changed is left to the next call.
static END_BANS: SqlText = SqlText::new(
    "WITH ended AS MATERIALIZED (
        SELECT id FROM users WHERE disabled_until <= $now
        ORDER BY disabled_until LIMIT $limit FOR NO KEY UPDATE SKIP LOCKED
    ), let_in AS (
        UPDATE users AS u SET disabled_at = NULL, disabled_until = NULL
        FROM ended AS e WHERE u.id = e.id RETURNING u.id
    )
    SELECT count(*) FROM let_in",
);

#[async_trait]
impl PeopleImport for PgStore {
    async fn stored(&self, question: &ImportQuestion) -> Result<StoredPeople, StoreError> {
        self.run(StoreOperation::Import, async |connection, _| stored(connection, question).await)
            .await
    }

    /// A call that is repeated because its answer was lost finds its own users, and says that it was
    /// overtaken: who asks again learns that they are there.
    async fn create(
        &self,
        source: &str,
        users: &[ImportedUser],
        now: Timestamp,
    ) -> Result<ImportOutcome, StoreError> {
        let people: Json = users.iter().map(|user| person(user, now)).collect();
        let identities: Json = users
            .iter()
            .flat_map(|user| {
                let id = user.id.to_string();
                user.identities.iter().map(move |(identity, provider)| {
                    let mut row = identity_row(identity, provider);
                    row["id"] = id.clone().into();
                    row
                })
            })
            .collect();
        let former: Json = users
            .iter()
            .flat_map(|user| {
                let id = user.id.to_string();
                id_rows(&ImportRecord::from(user)).into_iter().map(move |mut row| {
                    row["id"] = id.clone().into();
                    row
                })
            })
            .collect();
        self.run(StoreOperation::Import, async |connection, _| {
            let values = [
                ("people", Value::Json(people.clone())),
                ("identities", Value::Json(identities.clone())),
                ("former", Value::Json(former.clone())),
                ("source", Value::Text(source)),
                ("now", Value::at(now)?),
            ];
            stored_or_overtaken(Sql::<BigInt>::new(&CREATE, values).answer::<i64>(connection).await)
        })
        .await
    }

    async fn change(
        &self,
        source: &str,
        change: &ImportedChange,
    ) -> Result<ImportOutcome, StoreError> {
        self.run(StoreOperation::Import, async |connection, _: Attempt| {
            let done = connection
                .transaction(async |connection| carry_out(connection, source, change).await)
                .await;
            match done {
                Err(Failure::Overtaken) => Ok(ImportOutcome::Overtaken),
                done => done,
            }
        })
        .await
    }

    async fn set_ban(&self, user: UserId, ban: Ban) -> Result<(), StoreError> {
        let until: Option<PgTimestamp> = match ban {
            Ban::ForEver => None,
            Ban::Until(at) => Some(to_postgres(at)?),
        };
        let row = users::table.find(*user.as_uuid()).filter(users::disabled_at.is_not_null());
        let query = diesel::update(row).set(users::disabled_until.eq(until));
        self.run(StoreOperation::Import, async |connection, _| {
            (&query).execute(connection).await?;
            Ok(())
        })
        .await
    }

    async fn end_bans(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.run(StoreOperation::Import, async |connection, _| {
            let values = [("now", Value::At(bound(now))), ("limit", Value::BigInt(limit.into()))];
            let sql = Sql::<BigInt>::new(&END_BANS, values);
            Ok(sql.answer::<i64>(connection).await?.unsigned_abs())
        })
        .await
    }

    async fn imported(
        &self,
        source: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, UserId)>, StoreError> {
        let query = former_ids::table
            .filter(former_ids::source.eq(source))
            .filter(former_ids::former_id.gt(after))
            .filter(former_ids::position.eq(0))
            .order(former_ids::former_id)
            .limit(limit.into())
            .select((former_ids::former_id, former_ids::user_id));
        self.run(StoreOperation::Import, async |connection, _| {
            let rows: Vec<(String, uuid::Uuid)> = (&query).load(connection).await?;
            Ok(rows.into_iter().map(|(id, user)| (id, UserId::from_uuid(user))).collect())
        })
        .await
    }

    async fn former_ids(&self, user: UserId) -> Result<Vec<FormerId>, StoreError> {
        self.run(StoreOperation::Import, async |connection, _| {
            let found = of_users(connection, &[*user.as_uuid()]).await?;
            Ok(found.into_iter().map(|(_, id)| id).collect())
        })
        .await
    }

    async fn find_former(&self, id: &FormerId) -> Result<Option<UserId>, StoreError> {
        let query = former_ids::table.find((&id.id, &id.source)).select(former_ids::user_id);
        self.run(StoreOperation::Import, async |connection, _| {
            let user: Option<uuid::Uuid> = (&query).get_result(connection).await.optional()?;
            Ok(user.map(UserId::from_uuid))
        })
        .await
    }
}

/// The former ids of several users, each with its user.
pub(crate) async fn of_users(
    connection: &mut AsyncPgConnection,
    users: &[uuid::Uuid],
) -> Result<Vec<(uuid::Uuid, FormerId)>, Failure> {
    let rows: Vec<(uuid::Uuid, String, String)> = former_ids::table
        .filter(former_ids::user_id.eq_any(users))
        .order((former_ids::source, former_ids::position, former_ids::former_id))
        .select((former_ids::user_id, former_ids::source, former_ids::former_id))
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(|(user, source, id)| (user, FormerId { source, id })).collect())
}

fn person(user: &ImportedUser, now: Timestamp) -> Json {
    let profile = &user.profile;
    let ban = user.ban.and_then(|ban| ban.at(now));
    let until = match ban {
        Some(Ban::Until(at)) => Some(at.as_unix()),
        Some(Ban::ForEver) | None => None,
    };
    json!({
        "id": user.id.to_string(),
        "roles": user.roles.iter().map(Role::as_str).collect::<Vec<_>>(),
        "banned": ban.is_some(),
        "until": until,
        "created": user.created_at.as_unix(),
        "name": profile.name,
        "username": profile.preferred_username,
        "email": profile.email,
        "picture": profile.picture,
        "searched": profile.searched(),
    })
}

fn identity_row(identity: &ExternalIdentity, provider: &ProviderId) -> Json {
    json!({
        "issuer": identity.issuer,
        "subject": identity.subject,
        "provider": provider.as_str(),
    })
}

fn id_rows(record: &ImportRecord) -> Vec<Json> {
    let text = record.to_text();
    let ids = record.former_ids.iter().enumerate();
    ids.map(|(position, id)| {
        let record = (position == 0).then_some(&text);
        json!({ "former_id": id, "position": position, "record": record })
    })
    .collect()
}

fn stored_or_overtaken<T>(result: QueryResult<T>) -> Result<ImportOutcome, Failure> {
    match result {
        Ok(_) => Ok(ImportOutcome::Stored),
        Err(error) if violated_index(&error).is_some() => Ok(ImportOutcome::Overtaken),
        Err(error) => Err(error.into()),
    }
}

async fn stored(
    connection: &mut AsyncPgConnection,
    question: &ImportQuestion,
) -> Result<StoredPeople, Failure> {
    let issuers = question.identities.iter().map(|it| it.issuer.as_str()).collect();
    let subjects = question.identities.iter().map(|it| it.subject.as_str()).collect();
    let ids: Vec<String> = question.ids.iter().map(ToString::to_string).collect();

    let values = [
        ("ids", Value::Texts(question.former_ids.iter().map(String::as_str).collect())),
        ("source", Value::Text(&question.source)),
    ];
    let former: Vec<(String, uuid::Uuid, Option<String>)> =
        Sql::<(Text, Uuid, Nullable<Text>)>::new(&STORED_IDS, values).load(connection).await?;
    let values = [
        ("source", Value::Text(&question.source)),
        ("issuers", Value::Texts(issuers)),
        ("subjects", Value::Texts(subjects)),
    ];
    let linked: Vec<(String, String, uuid::Uuid, bool)> =
        Sql::<(Text, Text, Uuid, Bool)>::new(&STORED_IDENTITIES, values).load(connection).await?;
    let values = [("ids", Value::Texts(ids.iter().map(String::as_str).collect()))];
    let taken: Vec<uuid::Uuid> = Sql::<Uuid>::new(&STORED_USERS, values).load(connection).await?;
    let mut people = StoredPeople {
        former_ids: former
            .into_iter()
            .map(|(id, user, record)| (id, UserId::from_uuid(user), record))
            .collect(),
        ids: taken.into_iter().map(UserId::from_uuid).collect(),
        ..StoredPeople::default()
    };
    for (issuer, subject, user, is_imported) in linked {
        let user = UserId::from_uuid(user);
        people.identities.push((ExternalIdentity { issuer, subject }, user));
        people.imported.extend(is_imported.then_some(user));
    }
    Ok(people)
}

/// A row that belongs to somebody else rolls everything back.
async fn carry_out(
    connection: &mut AsyncPgConnection,
    source: &str,
    change: &ImportedChange,
) -> Result<ImportOutcome, Failure> {
    let ImportedChange { user, link, now, record } = change;
    let locked = users::table.find(*user.as_uuid()).select(users::id).for_no_key_update();
    if locked.execute(connection).await? == 0 {
        return Err(Failure::Overtaken);
    }
    let identities: Json =
        link.iter().map(|(identity, provider)| identity_row(identity, provider)).collect();
    let id = || ("user", Value::Uuid(*user.as_uuid()));
    let values = [("identities", Value::Json(identities)), id(), ("now", Value::at(*now)?)];
    match Sql::<()>::new(&LINK, values).execute(connection).await {
        Ok(_) => {}
        Err(error) if violated_index(&error).is_some() => return Err(Failure::Overtaken),
        Err(error) => return Err(error.into()),
    }
    let others = former_ids::table
        .filter(former_ids::user_id.eq(user.as_uuid()))
        .filter(former_ids::source.eq(source))
        .filter(former_ids::position.eq(0));
    diesel::update(others)
        .set((former_ids::position.eq(1), former_ids::record.eq(None::<String>)))
        .execute(connection)
        .await?;
    let rows = id_rows(record);
    let count = rows.len();
    let values = [("former", Value::Json(rows.into())), id(), ("source", Value::Text(source))];
    if Sql::<()>::new(&KEEP_IDS, values).execute(connection).await? < count {
        return Err(Failure::Overtaken);
    }
    Ok(ImportOutcome::Stored)
}
