//! What an error of Redis means.

use mintgate_domain::Cause;
use mintgate_domain::ports::StoreError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Whether the connection, or what is known of the servers, is no longer right: another attempt on a new
/// connection may succeed. The command may have run.
pub(crate) fn is_stale(error: &RedisError) -> bool {
    let by_kind = match error.kind() {
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        ),
        _ => false,
    };
    by_kind || error.is_unrecoverable_error()
}

/// The error of the port: nothing that Redis answers with an error means that there is no such session.
pub(crate) fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(Cause::from_error("Redis did not do what it was asked", error))
}

/// A value that this program does not write.
pub(crate) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(Cause::new(format!("{what} cannot be read")))
}
