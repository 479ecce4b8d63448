//! What a failed statement means, and how a row that cannot be read is named.

use std::fmt::Display;

use diesel::data_types::PgTimestamp;
use diesel::result::{DatabaseErrorKind, DeserializeFieldError, Error};
use mintgate_domain::model::{Role, Timestamp};
use mintgate_domain::ports::StoreError;
use mintgate_domain::{Cause, TokenHash};

use crate::time::from_postgres;

/// Why a statement gave no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection cannot be used any more; another one may work.
    ConnectionLost(Cause),
    /// The database refused the statement for a reason that the driver does not tell apart.
    Refused(Cause),
    /// Another caller's write was in the way and is there to be found now: the call begins again.
    Overtaken,
    /// An error that would be the same at another attempt.
    Final(StoreError),
}

impl From<Error> for Failure {
    /// Keeps an error only where its text is its primary message: Postgres puts the values of rows
    /// into the details.
    fn from(error: Error) -> Self {
        match error {
            Error::DatabaseError(kind, information) => match kind {
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
                    let error = Error::DatabaseError(kind, information);
                    Self::ConnectionLost(Cause::from_error("the connection is lost", error))
                }
                // Connected to a server that has become a standby: the primary is elsewhere now.
                DatabaseErrorKind::ReadOnlyTransaction => {
                    Self::ConnectionLost("the server is read-only".into())
                }
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::RestrictViolation
                | DatabaseErrorKind::ExclusionViolation => {
                    let constraint = information.constraint_name();
                    let rule = constraint.or(information.column_name()).unwrap_or("a constraint");
                    Self::Final(StoreError::Corrupt(format!("a row was refused by {rule}").into()))
                }
                _ => {
                    let error = Error::DatabaseError(kind, information);
                    Self::Refused(Cause::from_error("Postgres refused the statement", error))
                }
            },
            Error::DeserializationError(source) => {
                let field = source.downcast_ref::<DeserializeFieldError>();
                let column = field.and_then(|f| f.field_name.as_deref()).unwrap_or("a column");
                Self::Final(StoreError::Corrupt(format!("{column} cannot be read").into()))
            }
            Error::BrokenTransactionManager => {
                Self::ConnectionLost(Cause::from_error("the transaction is broken", error))
            }
            other => {
                let cause = Cause::from_error("the statement cannot be carried out", other);
                Self::Final(StoreError::Unavailable(cause))
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

/// The unique index that refused a row, by name.
pub(crate) fn violated_index(error: &Error) -> Option<&str> {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, information) => {
            information.constraint_name()
        }
        _ => None,
    }
}

/// A row that is being read, as an error names it; no value of the row is in the error.
pub(crate) struct RowName<'a> {
    pub(crate) table: &'static str,
    /// The row's identifier, which is no secret.
    pub(crate) id: &'a (dyn Display + Sync),
}

impl RowName<'_> {
    pub(crate) fn corrupt(&self, column: &str) -> StoreError {
        let Self { table, id } = self;
        StoreError::Corrupt(format!("{table}.{column} of row {id} cannot be read").into())
    }

    pub(crate) fn number<N, T: TryFrom<N>>(&self, column: &str, value: N) -> Result<T, StoreError> {
        value.try_into().map_err(|_| self.corrupt(column))
    }

    pub(crate) fn time(&self, column: &str, at: PgTimestamp) -> Result<Timestamp, StoreError> {
        from_postgres(at).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn maybe_time(
        &self,
        column: &str,
        at: Option<PgTimestamp>,
    ) -> Result<Option<Timestamp>, StoreError> {
        at.map(|at| self.time(column, at)).transpose()
    }

    pub(crate) fn hash(&self, column: &str, bytes: &[u8]) -> Result<TokenHash, StoreError> {
        bytes.try_into().map(TokenHash::from_bytes).map_err(|_| self.corrupt(column))
    }

    pub(crate) fn texts(
        &self,
        column: &str,
        texts: Vec<Option<String>>,
    ) -> Result<Vec<String>, StoreError> {
        texts.into_iter().collect::<Option<_>>().ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn roles(
        &self,
        column: &str,
        names: Vec<Option<String>>,
    ) -> Result<Vec<Role>, StoreError> {
        Ok(self.texts(column, names)?.into_iter().map(Role::new).collect())
    }
}
