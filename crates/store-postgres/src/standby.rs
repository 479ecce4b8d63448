//! Whether the server that answers is the primary.
//!
//! After a switchover, a connection can still lead to the former primary, which is a standby now and knows nothing of the
//! latest logouts. A write notices; what only reads has to ask, in the same statement.

use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::error::Failure;
use crate::schema::pg_is_in_recovery;

/// Has the connection replaced, if it leads to a standby.
pub(crate) fn refuse_standby(is_standby: bool) -> Result<(), Failure> {
    if is_standby {
        return Err(Failure::ConnectionLost("the server is a standby".into()));
    }
    Ok(())
}

/// The same, where a statement has found no row that could say so.
pub(crate) async fn require_primary(connection: &mut AsyncPgConnection) -> Result<(), Failure> {
    refuse_standby(diesel::select(pg_is_in_recovery()).get_result(connection).await?)
}
