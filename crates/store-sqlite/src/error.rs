//! What a failed statement means.

use diesel::result::{DatabaseErrorKind, DeserializeFieldError, Error};
use mintgate_domain::ports::StoreError;

/// SQLite's messages name tables, columns and rules, never values.
pub(crate) fn store_error(error: &Error) -> StoreError {
    match error {
        Error::DatabaseError(kind, information) => {
            let message = information.message();
            match kind {
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation => {
                    StoreError::Corrupt(format!("a row was refused: {message}").into())
                }
                _ if message.starts_with("no such table")
                    || message.contains("no such column")
                    || message.contains("has no column named") =>
                {
                    StoreError::SchemaMismatch(message.to_owned().into())
                }
                _ => StoreError::Unavailable(message.to_owned().into()),
            }
        }
        Error::DeserializationError(source) => {
            let field = source.downcast_ref::<DeserializeFieldError>();
            let column = field.and_then(|f| f.field_name.as_deref()).unwrap_or("a column");
            StoreError::Corrupt(format!("{column} cannot be read").into())
        }
        other => StoreError::Unavailable(other.to_string().into()),
    }
}
