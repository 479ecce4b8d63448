//! The providers' tokens that are kept.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use mintgate_domain::model::{Role, SealedToken, SessionId, Timestamp, UpstreamTokens};
use mintgate_domain::ports::{StoreError, StoreOperation, UpstreamRenewal, UpstreamTokenRepo};

use crate::schema::upstream_tokens;
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::{bound, to_postgres};

/// A statement that was stuck in a paused server may be carried out when the provider has been asked
/// once more: what came of that is newer, and stays.
static KEEP: SqlText = SqlText::new(
    "WITH kept AS (
        UPDATE upstream_tokens SET sealed = COALESCE($sealed, sealed),
            id_token = COALESCE($id_token, id_token), asked_at = $at,
            claimed_until = NULL
        WHERE session_id = $session AND asked_at <= $at
    )
    UPDATE sessions SET claimed_roles = $roles
    WHERE id = $session AND $roles IS NOT NULL AND NOT EXISTS (
        SELECT FROM upstream_tokens WHERE session_id = $session AND asked_at > $at
    )",
);

#[async_trait]
impl UpstreamTokenRepo for PgStore {
    async fn load_upstream(&self, session: SessionId) -> Result<UpstreamTokens, StoreError> {
        use upstream_tokens::{id_token, sealed};
        let row = upstream_tokens::table.find(session.as_uuid()).select((sealed, id_token));
        self.run(StoreOperation::Upstream, async |connection, _| {
            let rows: Vec<(Option<String>, Option<String>)> = row.load(connection).await?;
            let (refresh, id) = rows.into_iter().next().unwrap_or_default();
            Ok(UpstreamTokens { refresh: refresh.map(SealedToken), id: id.map(SealedToken) })
        })
        .await
    }

    /// A call that is repeated because its answer was lost finds the token claimed, by itself. The
    /// token can be claimed again after the lease.
    async fn claim_upstream(
        &self,
        session: SessionId,
        due: Timestamp,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<SealedToken>, StoreError> {
        use upstream_tokens::{asked_at, claimed_until, sealed};
        let lease = to_postgres(lease)?;
        self.run(StoreOperation::Upstream, async |connection, _| {
            let is_free = claimed_until.is_null().or(claimed_until.le(bound(now)));
            let claimed: Vec<Option<String>> =
                diesel::update(upstream_tokens::table.find(session.as_uuid()))
                    .filter(sealed.is_not_null())
                    .filter(asked_at.le(bound(due)))
                    .filter(is_free.assume_not_null())
                    .set(claimed_until.eq(lease))
                    .returning(sealed)
                    .load(connection)
                    .await?;
            Ok(claimed.into_iter().next().flatten().map(SealedToken))
        })
        .await
    }

    /// May be repeated: the second time changes nothing.
    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        let UpstreamRenewal { tokens, claimed_roles, at } = renewal;
        let roles = claimed_roles.as_ref();
        let roles = || roles.map(|roles| roles.iter().map(Role::as_str).collect());
        self.run(StoreOperation::Upstream, async |connection, _| {
            let values = [
                ("session", Value::Uuid(*session.as_uuid())),
                ("sealed", Value::maybe_sealed(tokens.refresh.as_ref())),
                ("id_token", Value::maybe_sealed(tokens.id.as_ref())),
                ("roles", Value::MaybeTexts(roles())),
                ("at", Value::at(*at)?),
            ];
            Sql::<()>::new(&KEEP, values).execute(connection).await?;
            Ok(())
        })
        .await
    }
}
