//! The ring of signing keys.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::{KeyRepo, StoreError, StoreOperation};

use crate::error::{RowName, violated_index};
use crate::schema::sealing_keys;
use crate::schema::signing_keys::{self, activates_at, key_use, kid};
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::to_postgres;

/// Of several callers that find the same number next, the primary key lets one through.
static ADD: SqlText = SqlText::new(
    "INSERT INTO signing_keys (key_use, number, kid, material, created_at,
        activates_at)
    SELECT $key_use, $number, $key, $material, $created_at, $activates_at
    WHERE $number = (
        SELECT COALESCE(max(number), 0) + 1 FROM signing_keys WHERE key_use = $key_use
    )",
);

#[derive(Queryable, Selectable)]
#[diesel(table_name = signing_keys, check_for_backend(diesel::pg::Pg))]
struct KeyRow {
    key_use: String,
    number: i32,
    kid: String,
    material: String,
    created_at: PgTimestamp,
    activates_at: Option<PgTimestamp>,
}

impl KeyRow {
    /// The record; `None` for a use that this version does not know, whose keys it cannot use.
    fn record(self) -> Result<Option<KeyRecord>, StoreError> {
        // Wrapped before anything can fail.
        let material = SecretText::new(self.material);
        let Some(use_of_key) = KeyUse::from_name(&self.key_use) else { return Ok(None) };
        let row = RowName { table: "signing_keys", id: &self.kid };
        Ok(Some(KeyRecord {
            key_use: use_of_key,
            number: row.number("number", self.number)?,
            created_at: row.time("created_at", self.created_at)?,
            activates_at: row.maybe_time("activates_at", self.activates_at)?,
            id: KeyId::new(self.kid.as_str()),
            material,
        }))
    }
}

#[async_trait]
impl KeyRepo for PgStore {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let query =
            signing_keys::table.order((key_use, signing_keys::number)).select(KeyRow::as_select());
        self.run(StoreOperation::Keys, async |connection, _| {
            let rows: Vec<KeyRow> = (&query).load(connection).await?;
            let records = rows.into_iter().filter_map(|row| row.record().transpose());
            Ok(records.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A call that is repeated because its answer was lost adds nothing: the caller finds the key in
    /// the list.
    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError> {
        // A number this large cannot be the next.
        let Ok(number) = record.number.try_into() else { return Ok(false) };
        self.run(StoreOperation::Keys, async |connection, _| {
            let values = [
                ("key_use", Value::Text(record.key_use.name())),
                ("number", Value::Integer(number)),
                ("key", Value::Text(record.id.as_str())),
                ("material", Value::Text(record.material.expose())),
                ("created_at", Value::at(record.created_at)?),
                ("activates_at", Value::maybe_at(record.activates_at)?),
            ];
            match Sql::<()>::new(&ADD, values).execute(connection).await {
                Ok(added) => Ok(added == 1),
                Err(error) if violated_index(&error).is_some() => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn activate_key(
        &self,
        use_of_key: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let at = to_postgres(at)?;
        self.run(StoreOperation::Keys, async |connection, _| {
            let is_later = activates_at.is_null().or(activates_at.gt(at));
            let activated = diesel::update(signing_keys::table)
                .filter(key_use.eq(use_of_key.name()))
                .filter(kid.eq(id.as_str()))
                .filter(is_later.assume_not_null())
                .set(activates_at.eq(at))
                .execute(connection)
                .await?;
            Ok(activated == 1)
        })
        .await
    }

    async fn remove_key(&self, use_of_key: KeyUse, id: &KeyId) -> Result<bool, StoreError> {
        self.run(StoreOperation::Keys, async |connection, _| {
            let removed = diesel::delete(signing_keys::table)
                .filter(key_use.eq(use_of_key.name()))
                .filter(kid.eq(id.as_str()))
                .execute(connection)
                .await?;
            Ok(removed == 1)
        })
        .await
    }

    /// A call that is repeated because its answer was lost finds the key sealed anew, and returns `false`.
    async fn reseal_key(
        &self,
        record: &KeyRecord,
        material: &SecretText,
    ) -> Result<bool, StoreError> {
        self.run(StoreOperation::Keys, async |connection, _| {
            let resealed = diesel::update(signing_keys::table)
                .filter(key_use.eq(record.key_use.name()))
                .filter(kid.eq(record.id.as_str()))
                .filter(signing_keys::material.eq(record.material.expose()))
                .set(signing_keys::material.eq(material.expose()))
                .execute(connection)
                .await?;
            Ok(resealed == 1)
        })
        .await
    }

    async fn sealing_keys(&self) -> Result<Vec<String>, StoreError> {
        let names = sealing_keys::table.order(sealing_keys::name).select(sealing_keys::name);
        self.run(StoreOperation::Keys, async |connection, _| Ok(names.load(connection).await?))
            .await
    }

    async fn note_sealing_key(&self, name: &str) -> Result<(), StoreError> {
        self.run(StoreOperation::Keys, async |connection, _| {
            diesel::insert_into(sealing_keys::table)
                .values(sealing_keys::name.eq(name))
                .on_conflict_do_nothing()
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }

    async fn forget_sealing_key(&self, name: &str) -> Result<(), StoreError> {
        self.run(StoreOperation::Keys, async |connection, _| {
            diesel::delete(sealing_keys::table.find(name)).execute(connection).await?;
            Ok(())
        })
        .await
    }
}
