//! What operators see of sessions.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use mintgate_domain::model::{DeletedSession, RevokeReason, Session, SessionId, UserId};
use mintgate_domain::ports::{SessionAdministration, StoreError, StoreOperation};

use super::row::SessionRow;
use crate::error::RowName;
use crate::schema::{deleted_sessions, sessions};
use crate::store::PgStore;

#[async_trait]
impl SessionAdministration for PgStore {
    async fn user_sessions(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let before = before.map_or(uuid::Uuid::max(), |id| *id.as_uuid());
        let query = sessions::table
            .filter(sessions::user_id.eq(user.as_uuid()))
            .filter(sessions::id.lt(before))
            .order(sessions::id.desc())
            .limit(limit.into())
            .select(SessionRow::as_select());
        self.run(StoreOperation::Administration, async |connection, _| {
            let rows: Vec<SessionRow> = (&query).load(connection).await?;
            Ok(rows.into_iter().map(Session::try_from).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn deleted_session(&self, id: SessionId) -> Result<Option<DeletedSession>, StoreError> {
        let query = deleted_sessions::table.find(id.as_uuid()).select((
            deleted_sessions::ended_at,
            deleted_sessions::forget_after,
            deleted_sessions::end_reason,
        ));
        self.run(StoreOperation::Administration, async |connection, _| {
            let found: Option<(PgTimestamp, PgTimestamp, Option<String>)> =
                (&query).get_result(connection).await.optional()?;
            let Some((ended_at, forget_after, reason)) = found else { return Ok(None) };
            let row = RowName { table: "deleted_sessions", id: id.as_uuid() };
            Ok(Some(DeletedSession {
                ended_at: row.time("ended_at", ended_at)?,
                reason: reason
                    .map_or(RevokeReason::UserDeleted, |name| RevokeReason::from_name(&name)),
                forget_after: row.time("forget_after", forget_after)?,
            }))
        })
        .await
    }
}
