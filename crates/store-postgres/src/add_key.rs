//! Adds a signing key to the ring.

use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::KeyRecord;

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

/// Of several that find the same number next, the primary key lets one through.
const TEXT: &str = "INSERT INTO signing_keys (key_use, number, kid, material, created_at,
        activates_at)
    SELECT $key_use, $number, $key, $material, $created_at, $activates_at
    WHERE $number = (
        SELECT COALESCE(max(number), 0) + 1 FROM signing_keys WHERE key_use = $key_use
    )";

/// Adds a record, if its number is the next of its use and its id is new. A caller that added it
/// and lost the answer is told that it was not added; it finds it in the list.
pub(crate) struct AddKey<'a>(pub(crate) &'a KeyRecord);

impl Statement for AddKey<'_> {
    type Output = bool;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<bool, Failure> {
        let record = self.0;
        // A number this large cannot be the next.
        let Ok(number) = record.number.try_into() else { return Ok(false) };
        let activates_at = record.activates_at.map(|at| to_postgres(at, "activates_at"));
        let values = [
            ("key_use", Value::Text(record.key_use.name())),
            ("number", Value::Integer(number)),
            ("key", Value::Text(record.id.as_str())),
            ("material", Value::Text(record.material.expose())),
            ("created_at", Value::At(to_postgres(record.created_at, "created_at")?)),
            ("activates_at", Value::MaybeAt(activates_at.transpose()?)),
        ];
        match Sql::new(TEXT, values).execute(connection).await {
            Ok(added) => Ok(added == 1),
            Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
