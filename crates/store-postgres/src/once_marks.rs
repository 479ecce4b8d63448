//! Marks of what counts once.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::TokenHash;
use mintgate_domain::model::SingleUse;
use mintgate_domain::ports::{OnceMarks, StoreError, StoreOperation};

use crate::error::Failure;
use crate::schema::single_use_marks;
use crate::store::PgStore;
use crate::time::to_postgres;

/// Stores a mark, in the transaction of the connection; `false` if it is stored already.
pub(crate) async fn claim(
    connection: &mut AsyncPgConnection,
    mark: &SingleUse,
) -> Result<bool, Failure> {
    let stored = diesel::insert_into(single_use_marks::table)
        .values((
            single_use_marks::hash.eq(mark.hash.as_bytes().as_slice()),
            single_use_marks::expires_at.eq(to_postgres(mark.expires_at)?),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok(stored == 1)
}

#[async_trait]
impl OnceMarks for PgStore {
    /// A call that is repeated because its answer was lost cannot tell its own mark from another
    /// caller's: it returns `false`.
    async fn claim(&self, mark: &SingleUse) -> Result<bool, StoreError> {
        self.run(StoreOperation::OnceMarks, async |connection, _| claim(connection, mark).await)
            .await
    }

    async fn is_claimed(&self, hash: TokenHash) -> Result<bool, StoreError> {
        let mark = single_use_marks::table.find(hash.as_bytes().as_slice());
        let query = diesel::select(exists(mark));
        self.run(StoreOperation::OnceMarks, async |connection, _| {
            Ok((&query).get_result(connection).await?)
        })
        .await
    }
}
