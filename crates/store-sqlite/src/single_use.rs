//! The marks of what counts once.

use diesel::prelude::*;
use mintgate_domain::model::SingleUse;

use crate::schema::single_use_marks;

/// Stores the mark; `false` if it was stored before, expired or not. Part of a transaction.
pub(crate) fn use_up(connection: &mut SqliteConnection, mark: &SingleUse) -> QueryResult<bool> {
    let row = (
        single_use_marks::hash.eq(mark.hash.as_bytes().as_slice()),
        single_use_marks::expires_at.eq(mark.expires_at.as_unix()),
    );
    let inserted = diesel::insert_into(single_use_marks::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(connection)?;
    Ok(inserted == 1)
}
