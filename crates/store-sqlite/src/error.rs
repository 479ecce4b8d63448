//! What a failed statement means.

use diesel::SqliteConnection;
use diesel::result::{DatabaseErrorKind, Error};
use mintgate_domain::Cause;
use mintgate_domain::ports::StoreError;

use crate::migrations;

/// Why work on a connection gave no result.
pub(crate) enum Failure {
    /// A statement failed; [`Failure::diagnose`] says what that means.
    Statement(Error),
    /// An error whose meaning for the port is known.
    Final(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    /// The error of the port. SQLite gives one code for a missing table, a syntax error and much
    /// else, so the schema's version is read to find out whether the schema is the reason.
    ///
    /// SQLite's messages name tables, columns and constraints, never values.
    pub(crate) fn diagnose(self, connection: &mut SqliteConnection) -> StoreError {
        let error = match self {
            Self::Statement(error) => error,
            Self::Final(error) => return error,
        };
        match error {
            Error::DatabaseError(
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation,
                _,
            ) => StoreError::Corrupt(Cause::from_error("a row was refused", error)),
            Error::DeserializationError(_) => {
                StoreError::Corrupt(Cause::from_error("a column cannot be read", error))
            }
            _ => match migrations::difference(connection) {
                Ok(Some(difference)) => {
                    StoreError::SchemaMismatch(Cause::from_error(difference, error))
                }
                Ok(None) | Err(_) => {
                    StoreError::Unavailable(Cause::from_error("a statement failed", error))
                }
            },
        }
    }
}
