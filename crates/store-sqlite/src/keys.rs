//! The ring of signing keys.

use diesel::dsl::{exists, max};
use diesel::prelude::*;
use diesel::result::Error;
use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::StoreError;

use crate::error::store_error;
use crate::schema::{sessions, signing_keys};
use crate::session_row::corrupt;

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

impl TryFrom<KeyRow> for KeyRecord {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        // Wrapped first, so that it is wiped whatever else is wrong.
        let material = SecretText::new(row.material);
        Ok(Self {
            key_use: KeyUse::from_name(&row.key_use).ok_or_else(|| corrupt("key_use"))?,
            number: row.number.try_into().map_err(|_| corrupt("number"))?,
            id: KeyId::new(row.kid),
            material,
            created_at: Timestamp::from_unix(row.created_at),
            activates_at: row.activates_at.map(Timestamp::from_unix),
        })
    }
}

pub(crate) fn list_keys(connection: &mut SqliteConnection) -> Result<Vec<KeyRecord>, StoreError> {
    let rows = signing_keys::table
        .order((signing_keys::key_use, signing_keys::number))
        .select(KeyRow::as_select())
        .load(connection)
        .map_err(|e| store_error(&e))?;
    rows.into_iter().map(KeyRecord::try_from).collect()
}

/// The transaction takes the write lock before it looks for the highest number.
pub(crate) fn add_key(
    connection: &mut SqliteConnection,
    record: &KeyRecord,
) -> Result<bool, StoreError> {
    let added = connection.immediate_transaction(|connection| {
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
    });
    added.map_err(|e: Error| store_error(&e))
}

pub(crate) fn activate_key(
    connection: &mut SqliteConnection,
    key_use: KeyUse,
    id: &KeyId,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let signs_later =
        signing_keys::activates_at.is_null().or(signing_keys::activates_at.gt(at.as_unix()));
    let key = signing_keys::table
        .filter(signing_keys::key_use.eq(key_use.name()))
        .filter(signing_keys::kid.eq(id.as_str()))
        .filter(signs_later);
    let activated =
        diesel::update(key).set(signing_keys::activates_at.eq(at.as_unix())).execute(connection);
    activated.map(|rows| rows == 1).map_err(|e| store_error(&e))
}

pub(crate) fn remove_key(
    connection: &mut SqliteConnection,
    key_use: KeyUse,
    id: &KeyId,
) -> Result<bool, StoreError> {
    let key = signing_keys::table
        .filter(signing_keys::key_use.eq(key_use.name()))
        .filter(signing_keys::kid.eq(id.as_str()));
    let removed = diesel::delete(key).execute(connection);
    removed.map(|rows| rows == 1).map_err(|e| store_error(&e))
}

/// Reads the whole table, on a connection that keeps nobody from writing.
pub(crate) fn refresh_key_in_use(
    connection: &mut SqliteConnection,
    id: &KeyId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let needing = sessions::table
        .filter(sessions::cur_kid.eq(id.as_str()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::cur_exp.gt(now.as_unix()));
    diesel::select(exists(needing)).get_result(connection).map_err(|e| store_error(&e))
}
