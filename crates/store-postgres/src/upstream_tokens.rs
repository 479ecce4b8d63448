//! The providers' tokens that are kept.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::expression::BoxableExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use mintgate_domain::model::{KeptAccess, Role, SealedToken, SessionId, Timestamp, UpstreamTokens};
use mintgate_domain::ports::{
    ClaimedUpstream, StoreError, StoreOperation, UpstreamDue, UpstreamRenewal, UpstreamTokenRepo,
};

use crate::schema::upstream_tokens;
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::{bound, from_postgres, to_postgres};

/// A statement that was stuck in a paused server may be carried out when the provider has been asked
/// once more: what came of that is newer, and stays.
static KEEP: SqlText = SqlText::new(
    "WITH kept AS (
        UPDATE upstream_tokens SET sealed = COALESCE($sealed, sealed),
            id_token = COALESCE($id_token, id_token),
            access_scope = CASE WHEN $access IS NULL THEN access_scope ELSE $access_scope END,
            access_expires_at =
                CASE WHEN $access IS NULL THEN access_expires_at ELSE $access_expires_at END,
            access_due_at = CASE WHEN $access IS NULL THEN access_due_at ELSE $access_due_at END,
            access_token = COALESCE($access, access_token), asked_at = $at, claimed_until = NULL
        WHERE session_id = $session AND asked_at <= $at
    )
    UPDATE sessions SET claimed_roles = $roles
    WHERE id = $session AND $roles IS NOT NULL AND NOT EXISTS (
        SELECT FROM upstream_tokens WHERE session_id = $session AND asked_at > $at
    )",
);

static FORGET: SqlText = SqlText::new(
    "UPDATE upstream_tokens SET sealed = NULL, access_token = NULL, access_scope = NULL,
        access_expires_at = NULL, access_due_at = NULL, claimed_until = NULL
    WHERE session_id = $session AND sealed = $sealed",
);

static RELEASE: SqlText = SqlText::new(
    "UPDATE upstream_tokens SET claimed_until = NULL
    WHERE session_id = $session AND sealed = $sealed",
);

/// The values of the columns of tokens.
pub(crate) fn values(
    tokens: &UpstreamTokens,
) -> Result<Vec<(&'static str, Value<'_>)>, StoreError> {
    let access = tokens.access.as_ref();
    Ok(vec![
        ("sealed", Value::maybe_sealed(tokens.refresh.as_ref())),
        ("id_token", Value::maybe_sealed(tokens.id.as_ref())),
        ("access", Value::maybe_sealed(access.map(|access| &access.sealed))),
        ("access_scope", Value::MaybeText(access.and_then(|access| access.scope.as_deref()))),
        ("access_expires_at", Value::maybe_at(access.and_then(|access| access.expires_at))?),
        ("access_due_at", Value::maybe_at(access.and_then(|access| access.due_at))?),
    ])
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = upstream_tokens)]
struct TokensRow {
    sealed: Option<String>,
    id_token: Option<String>,
    access_token: Option<String>,
    access_scope: Option<String>,
    access_expires_at: Option<PgTimestamp>,
    access_due_at: Option<PgTimestamp>,
}

impl TokensRow {
    fn tokens(self) -> Result<UpstreamTokens, StoreError> {
        let read = |name, at: Option<PgTimestamp>| at.map(|at| second(name, at)).transpose();
        let access = match self.access_token {
            None => None,
            Some(sealed) => Some(KeptAccess {
                sealed: SealedToken(sealed),
                scope: self.access_scope,
                expires_at: read("access_expires_at", self.access_expires_at)?,
                due_at: read("access_due_at", self.access_due_at)?,
            }),
        };
        let (refresh, id) = (self.sealed.map(SealedToken), self.id_token.map(SealedToken));
        Ok(UpstreamTokens { refresh, id, access })
    }
}

fn second(column: &str, at: PgTimestamp) -> Result<Timestamp, StoreError> {
    from_postgres(at).ok_or_else(|| StoreError::Corrupt(format!("{column} is out of range").into()))
}

type Condition = Box<dyn BoxableExpression<upstream_tokens::table, Pg, SqlType = Bool> + Send>;

fn is_due(due: UpstreamDue) -> Condition {
    use upstream_tokens::{access_due_at, access_token, asked_at};
    match due {
        UpstreamDue::Recheck(at) => Box::new(asked_at.le(bound(at))),
        UpstreamDue::Access(at) => {
            Box::new(access_token.is_null().or(access_due_at.le(bound(at)).assume_not_null()))
        }
    }
}

impl PgStore {
    /// Runs a statement about the tokens of a session whose refresh token is still this one. May be
    /// repeated: the second time changes nothing that matters.
    async fn unclaim(
        &self,
        text: &'static SqlText,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        self.run(StoreOperation::Upstream, async |connection, _| {
            let values =
                [("session", Value::Uuid(*session.as_uuid())), ("sealed", Value::Text(&refresh.0))];
            Sql::<()>::new(text, values).execute(connection).await?;
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl UpstreamTokenRepo for PgStore {
    async fn load_upstream(&self, session: SessionId) -> Result<UpstreamTokens, StoreError> {
        let row = upstream_tokens::table.find(session.as_uuid()).select(TokensRow::as_select());
        self.run(StoreOperation::Upstream, async |connection, _| {
            let rows: Vec<TokensRow> = row.load(connection).await?;
            let row = rows.into_iter().next();
            Ok(row.map(TokensRow::tokens).transpose()?.unwrap_or_default())
        })
        .await
    }

    /// A call that is repeated because its answer was lost finds the token claimed, by itself. The
    /// token can be claimed again after the lease.
    async fn claim_upstream(
        &self,
        session: SessionId,
        due: UpstreamDue,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<ClaimedUpstream>, StoreError> {
        use upstream_tokens::{asked_at, claimed_until, sealed};
        let lease = to_postgres(lease)?;
        self.run(StoreOperation::Upstream, async |connection, _| {
            let is_free = claimed_until.is_null().or(claimed_until.le(bound(now)));
            let claimed: Vec<(Option<String>, PgTimestamp)> =
                diesel::update(upstream_tokens::table.find(session.as_uuid()))
                    .filter(sealed.is_not_null())
                    .filter(is_due(due))
                    .filter(is_free.assume_not_null())
                    .set(claimed_until.eq(lease))
                    .returning((sealed, asked_at))
                    .load(connection)
                    .await?;
            let Some((Some(refresh), at)) = claimed.into_iter().next() else { return Ok(None) };
            let at = second("asked_at", at)?;
            Ok(Some(ClaimedUpstream { refresh: SealedToken(refresh), asked_at: at }))
        })
        .await
    }

    async fn release_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        self.unclaim(&RELEASE, session, refresh).await
    }

    async fn forget_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        self.unclaim(&FORGET, session, refresh).await
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
            let mut values = values(tokens)?;
            values.extend([
                ("session", Value::Uuid(*session.as_uuid())),
                ("roles", Value::MaybeTexts(roles())),
                ("at", Value::at(*at)?),
            ]);
            Sql::<()>::new(&KEEP, values).execute(connection).await?;
            Ok(())
        })
        .await
    }
}
