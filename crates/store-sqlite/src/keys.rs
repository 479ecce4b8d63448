//! The ring of signing keys.

use async_trait::async_trait;
use diesel::dsl::max;
use diesel::prelude::*;
use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::{KeyRepo, StoreError, StoreOperation};

use crate::error::Failure;
use crate::row::Row;
use crate::schema::{sealing_keys, signing_keys};
use crate::store::SqliteStore;

#[async_trait]
impl KeyRepo for SqliteStore {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.read(StoreOperation::Keys, list).await
    }

    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError> {
        let record = record.clone();
        let work = move |connection: &mut _| add(connection, &record);
        self.write(StoreOperation::Keys, work).await
    }

    async fn activate_key(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        let work = move |connection: &mut _| {
            let signs_later = signing_keys::activates_at
                .is_null()
                .or(signing_keys::activates_at.gt(at.as_unix()));
            let key = signing_keys::table
                .filter(signing_keys::key_use.eq(key_use.name()))
                .filter(signing_keys::kid.eq(id.as_str()))
                .filter(signs_later);
            let activated = diesel::update(key)
                .set(signing_keys::activates_at.eq(at.as_unix()))
                .execute(connection)?;
            Ok(activated == 1)
        };
        self.write(StoreOperation::Keys, work).await
    }

    async fn remove_key(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, StoreError> {
        let id = id.clone();
        let work = move |connection: &mut _| {
            let key = signing_keys::table
                .filter(signing_keys::key_use.eq(key_use.name()))
                .filter(signing_keys::kid.eq(id.as_str()));
            Ok(diesel::delete(key).execute(connection)? == 1)
        };
        self.write(StoreOperation::Keys, work).await
    }

    async fn reseal_key(
        &self,
        record: &KeyRecord,
        material: &SecretText,
    ) -> Result<bool, StoreError> {
        let (record, material) = (record.clone(), material.clone());
        let work = move |connection: &mut _| {
            let key = signing_keys::table
                .filter(signing_keys::key_use.eq(record.key_use.name()))
                .filter(signing_keys::kid.eq(record.id.as_str()))
                .filter(signing_keys::number.eq(i64::from(record.number)))
                .filter(signing_keys::material.eq(record.material.expose()));
            let resealed = diesel::update(key)
                .set(signing_keys::material.eq(material.expose()))
                .execute(connection)?;
            Ok(resealed == 1)
        };
        self.write(StoreOperation::Keys, work).await
    }

    async fn sealing_keys(&self) -> Result<Vec<String>, StoreError> {
        let work = move |connection: &mut _| {
            let names = sealing_keys::table.order(sealing_keys::name).select(sealing_keys::name);
            Ok(names.load(connection)?)
        };
        self.read(StoreOperation::Keys, work).await
    }

    async fn note_sealing_key(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        let work = move |connection: &mut _| {
            diesel::insert_into(sealing_keys::table)
                .values(sealing_keys::name.eq(name))
                .on_conflict_do_nothing()
                .execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Keys, work).await
    }

    async fn forget_sealing_key(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        let work = move |connection: &mut _| {
            diesel::delete(sealing_keys::table.find(name)).execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Keys, work).await
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = signing_keys)]
struct KeyRow {
    key_use: String,
    number: i64,
    kid: String,
    material: String,
    created_at: i64,
    activates_at: Option<i64>,
}

/// Keys for a use that this version does not know are left out: they are not for signing here.
fn list(connection: &mut SqliteConnection) -> Result<Vec<KeyRecord>, Failure> {
    let rows: Vec<KeyRow> = signing_keys::table
        .order((signing_keys::key_use, signing_keys::number))
        .select(KeyRow::as_select())
        .load(connection)?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        // Wrapped first, so that it is wiped whatever else is wrong.
        let material = SecretText::new(row.material);
        let Some(key_use) = KeyUse::from_name(&row.key_use) else { continue };
        records.push(KeyRecord {
            key_use,
            number: Row { table: "signing_keys", id: &row.kid }.number("number", row.number)?,
            id: KeyId::new(row.kid),
            material,
            created_at: Timestamp::from_unix(row.created_at),
            activates_at: row.activates_at.map(Timestamp::from_unix),
        });
    }
    Ok(records)
}

/// The write lock is held before the highest number is looked for.
fn add(connection: &mut SqliteConnection, record: &KeyRecord) -> Result<bool, Failure> {
    let highest: Option<i64> = signing_keys::table
        .filter(signing_keys::key_use.eq(record.key_use.name()))
        .select(max(signing_keys::number))
        .get_result(connection)?;
    let number = i64::from(record.number);
    if number != highest.unwrap_or(0) + 1 {
        return Ok(false);
    }
    let row = (
        signing_keys::key_use.eq(record.key_use.name()),
        signing_keys::number.eq(number),
        signing_keys::kid.eq(record.id.as_str()),
        signing_keys::material.eq(record.material.expose()),
        signing_keys::created_at.eq(record.created_at.as_unix()),
        signing_keys::activates_at.eq(record.activates_at.map(Timestamp::as_unix)),
    );
    let inserted = diesel::insert_into(signing_keys::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(connection)?;
    Ok(inserted == 1)
}
