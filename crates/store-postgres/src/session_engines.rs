//! Which engine the sessions are in.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{SessionEngines, StoreError, StoreOperation};

use crate::schema::{session_engine, sessions};
use crate::store::PgStore;
use crate::time::bound;

#[async_trait]
impl SessionEngines for PgStore {
    async fn session_engine(&self) -> Result<Option<String>, StoreError> {
        let ask = async |connection: &mut AsyncPgConnection, _| {
            let recorded = session_engine::table.select(session_engine::mark);
            Ok(recorded.get_result(connection).await.optional()?)
        };
        self.health.run(ask).await
    }

    async fn record_session_engine(
        &self,
        before: Option<&str>,
        mark: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.run(StoreOperation::Replicas, async |connection, _| {
            let is_before = |mark: &str| session_engine::mark.eq(mark.to_owned());
            let changed = match (before, mark) {
                (None, None) => return Ok(true),
                (None, Some(mark)) => {
                    let row = (session_engine::id.eq(1), session_engine::mark.eq(mark));
                    diesel::insert_into(session_engine::table)
                        .values(row)
                        .on_conflict_do_nothing()
                        .execute(connection)
                        .await?
                }
                (Some(before), Some(mark)) => {
                    diesel::update(session_engine::table.filter(is_before(before)))
                        .set(session_engine::mark.eq(mark))
                        .execute(connection)
                        .await?
                }
                (Some(before), None) => {
                    diesel::delete(session_engine::table.filter(is_before(before)))
                        .execute(connection)
                        .await?
                }
            };
            Ok(changed == 1)
        })
        .await
    }

    async fn has_sessions(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.run(StoreOperation::Replicas, async |connection, _| {
            let live = sessions::table
                .filter(sessions::revoked_at.is_null())
                .filter(sessions::cur_exp.gt(bound(now)));
            Ok(diesel::select(exists(live)).get_result(connection).await?)
        })
        .await
    }
}
