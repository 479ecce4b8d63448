//! The providers' tokens that are kept.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::expression::BoxableExpression;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable};
use diesel::sqlite::Sqlite;
use mintgate_domain::model::{SealedToken, SessionId, Timestamp, UpstreamTokens};
use mintgate_domain::ports::{StoreError, StoreOperation, UpstreamRenewal, UpstreamTokenRepo};

use crate::json;
use crate::schema::{sessions, upstream_tokens};
use crate::store::SqliteStore;

#[async_trait]
impl UpstreamTokenRepo for SqliteStore {
    async fn load_upstream(&self, session: SessionId) -> Result<UpstreamTokens, StoreError> {
        let look = move |connection: &mut _| {
            let row: Option<(Option<String>, Option<String>)> = upstream_tokens::table
                .find(session.as_uuid().as_bytes().as_slice())
                .select((upstream_tokens::sealed, upstream_tokens::id_token))
                .get_result(connection)
                .optional()?;
            let (refresh, id) = row.unwrap_or_default();
            Ok(UpstreamTokens { refresh: refresh.map(SealedToken), id: id.map(SealedToken) })
        };
        self.observed(StoreOperation::Upstream, self.readers.run(look)).await
    }

    async fn claim_upstream(
        &self,
        session: SessionId,
        due: Timestamp,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<SealedToken>, StoreError> {
        let look = move |connection: &mut _| {
            let row = upstream_tokens::table.find(session.as_uuid().as_bytes().as_slice());
            Ok(diesel::select(exists(row.filter(is_free(due, now)))).get_result(connection)?)
        };
        let claim = move |connection: &mut _| {
            let row = upstream_tokens::table.find(session.as_uuid().as_bytes().as_slice());
            let sealed: Option<Option<String>> = diesel::update(row)
                .filter(is_free(due, now))
                .set(upstream_tokens::claimed_until.eq(lease.as_unix()))
                .returning(upstream_tokens::sealed)
                .get_result(connection)
                .optional()?;
            Ok(sealed.flatten().map(SealedToken))
        };
        let call = async {
            // Most refreshes find that nothing is due, and need not wait for the writer.
            if self.readers.run(look).await? { self.writer.transact(claim).await } else { Ok(None) }
        };
        self.observed(StoreOperation::Upstream, call).await
    }

    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        let renewal = renewal.clone();
        let work = move |connection: &mut _| {
            let id = session.as_uuid().as_bytes().as_slice();
            diesel::update(upstream_tokens::table.find(id))
                .set((
                    upstream_tokens::asked_at.eq(renewal.at.as_unix()),
                    upstream_tokens::claimed_until.eq(None::<i64>),
                    renewal.tokens.refresh.map(|token| upstream_tokens::sealed.eq(token.0)),
                    renewal.tokens.id.map(|token| upstream_tokens::id_token.eq(token.0)),
                ))
                .execute(connection)?;
            if let Some(roles) = &renewal.claimed_roles {
                diesel::update(sessions::table.find(id))
                    .set(sessions::claimed_roles.eq(json::roles(roles)))
                    .execute(connection)?;
            }
            Ok(())
        };
        self.write(StoreOperation::Upstream, work).await
    }
}

type Condition =
    Box<dyn BoxableExpression<upstream_tokens::table, Sqlite, SqlType = Nullable<Bool>>>;

/// There is a refresh token, the provider was last asked at `due` or before, and nobody is asking at `now`.
fn is_free(due: Timestamp, now: Timestamp) -> Condition {
    let is_claimed_by_none = upstream_tokens::claimed_until
        .is_null()
        .or(upstream_tokens::claimed_until.le(now.as_unix()));
    let is_due =
        upstream_tokens::sealed.is_not_null().and(upstream_tokens::asked_at.le(due.as_unix()));
    Box::new(is_due.and(is_claimed_by_none))
}
