//! The marks of what counts once.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use mintgate_domain::TokenHash;
use mintgate_domain::model::SingleUse;
use mintgate_domain::ports::{OnceMarks, StoreError, StoreOperation};

use crate::schema::single_use_marks;
use crate::store::SqliteStore;

#[async_trait]
impl OnceMarks for SqliteStore {
    async fn claim(&self, mark: &SingleUse) -> Result<bool, StoreError> {
        let mark = *mark;
        let work = move |connection: &mut _| Ok(claim(connection, &mark)?);
        self.write(StoreOperation::OnceMarks, work).await
    }

    async fn is_claimed(&self, hash: TokenHash) -> Result<bool, StoreError> {
        let work = move |connection: &mut _| Ok(is_claimed(connection, hash)?);
        self.read(StoreOperation::OnceMarks, work).await
    }
}

/// Stores the mark; `false` if it is stored already, expired or not.
pub(crate) fn claim(connection: &mut SqliteConnection, mark: &SingleUse) -> QueryResult<bool> {
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

pub(crate) fn is_claimed(connection: &mut SqliteConnection, hash: TokenHash) -> QueryResult<bool> {
    let mark = single_use_marks::table.find(hash.as_bytes().as_slice());
    diesel::select(exists(mark)).get_result(connection)
}
