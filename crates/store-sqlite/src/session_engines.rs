//! Which engine the sessions are in.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{SessionEngines, StoreError, StoreOperation};

use crate::schema::{session_engine, sessions};
use crate::store::SqliteStore;

fn recorded(connection: &mut SqliteConnection) -> QueryResult<Option<String>> {
    session_engine::table.select(session_engine::mark).get_result(connection).optional()
}

#[async_trait]
impl SessionEngines for SqliteStore {
    async fn session_engine(&self) -> Result<Option<String>, StoreError> {
        let work = |connection: &mut SqliteConnection| Ok(recorded(connection)?);
        self.health.run(work).await
    }

    async fn record_session_engine(
        &self,
        before: Option<&str>,
        mark: Option<&str>,
    ) -> Result<bool, StoreError> {
        let (before, mark) = (before.map(str::to_owned), mark.map(str::to_owned));
        let work = move |connection: &mut SqliteConnection| {
            if recorded(connection)? != before {
                return Ok(false);
            }
            diesel::delete(session_engine::table).execute(connection)?;
            if let Some(mark) = mark {
                let row = (session_engine::id.eq(1), session_engine::mark.eq(mark));
                diesel::insert_into(session_engine::table).values(row).execute(connection)?;
            }
            Ok(true)
        };
        self.write(StoreOperation::Replicas, work).await
    }

    async fn has_sessions(&self, now: Timestamp) -> Result<bool, StoreError> {
        let work = move |connection: &mut SqliteConnection| {
            let live = sessions::table
                .filter(sessions::revoked_at.is_null())
                .filter(sessions::cur_exp.gt(now.as_unix()));
            Ok(diesel::select(exists(live)).get_result(connection)?)
        };
        self.read(StoreOperation::Replicas, work).await
    }
}
