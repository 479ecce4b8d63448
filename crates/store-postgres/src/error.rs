//! What a failed statement means.

use diesel::result::{DatabaseErrorKind, DeserializeFieldError, Error};
use mintgate_domain::ports::StoreError;

/// Why a statement gave no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is of no use any more; another may be.
    ConnectionLost(String),
    /// The database refused for a reason that the driver does not tell apart.
    Refused(String),
    /// Nothing that another attempt would change.
    Final(StoreError),
}

impl From<Error> for Failure {
    /// Takes an error's primary message at most: Postgres puts the values of rows into its details.
    fn from(error: Error) -> Self {
        match error {
            Error::DatabaseError(kind, information) => match kind {
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
                    Self::ConnectionLost(information.message().to_owned())
                }
                // Connected to a server that has become a standby: the primary is elsewhere now.
                DatabaseErrorKind::ReadOnlyTransaction => {
                    Self::ConnectionLost("the server is read-only".to_owned())
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
                _ => Self::Refused(information.message().to_owned()),
            },
            Error::DeserializationError(source) => Self::Final(corrupt_field(source.as_ref())),
            Error::BrokenTransactionManager => Self::ConnectionLost(error.to_string()),
            other => Self::Final(StoreError::Unavailable(other.to_string().into())),
        }
    }
}

/// Names the column and leaves the value out.
fn corrupt_field(source: &(dyn std::error::Error + Send + Sync + 'static)) -> StoreError {
    let field = source.downcast_ref::<DeserializeFieldError>();
    let column = field.and_then(|f| f.field_name.as_deref()).unwrap_or("a column");
    StoreError::Corrupt(format!("{column} cannot be read").into())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}
