//! The providers' tokens that are kept.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::expression::BoxableExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;
use mintgate_domain::model::{KeptAccess, Role, SealedToken, SessionId, Timestamp, UpstreamTokens};
use mintgate_domain::ports::{
    ClaimedUpstream, SealedBefore, SealedPage, StoreError, StoreOperation, UpstreamDue,
    UpstreamRenewal, UpstreamTokenKind, UpstreamTokenRepo,
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

/// The page's last session; a session, and its refresh, ID and access token.
type SealedColumns =
    (Nullable<Uuid>, Nullable<Uuid>, Nullable<Text>, Nullable<Text>, Nullable<Text>);
type SealedRow =
    (Option<uuid::Uuid>, Option<uuid::Uuid>, Option<String>, Option<String>, Option<String>);

/// The rows of a page that have a token which does not begin with the mark; or one row of nothing else
/// than the page's last session, which is there only if the page is full.
static SEALED_BEFORE: SqlText = SqlText::new(
    "WITH page AS MATERIALIZED (
        SELECT session_id, sealed, id_token, access_token FROM upstream_tokens
        WHERE session_id > $after ORDER BY session_id LIMIT $limit
    ), found AS (
        SELECT * FROM page WHERE NOT (COALESCE(starts_with(sealed, $mark), true)
            AND COALESCE(starts_with(id_token, $mark), true)
            AND COALESCE(starts_with(access_token, $mark), true))
    )
    SELECT last.session_id, found.session_id, found.sealed, found.id_token, found.access_token
    FROM (SELECT (SELECT session_id FROM page ORDER BY session_id OFFSET $before_last LIMIT 1)) AS last
        LEFT JOIN found ON true
    ORDER BY found.session_id",
);

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

    async fn sealed_before(
        &self,
        mark: &str,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<SealedPage, StoreError> {
        self.run(StoreOperation::Upstream, async |connection, _| {
            // The nil id sorts before every session's id.
            let after = after.map(|id| *id.as_uuid()).unwrap_or_default();
            let values = [
                ("after", Value::Uuid(after)),
                ("limit", Value::BigInt(limit.into())),
                ("before_last", Value::BigInt(limit.saturating_sub(1).into())),
                ("mark", Value::Text(mark)),
            ];
            let rows: Vec<SealedRow> =
                Sql::<SealedColumns>::new(&SEALED_BEFORE, values).get_results(connection).await?;
            let mut page = SealedPage::default();
            for (next, session, refresh, id, access) in rows {
                page.next = next.map(SessionId::from_uuid);
                let Some(session) = session.map(SessionId::from_uuid) else { continue };
                for (kind, text) in [
                    (UpstreamTokenKind::Refresh, refresh),
                    (UpstreamTokenKind::Id, id),
                    (UpstreamTokenKind::Access, access),
                ] {
                    let sealed = text.filter(|text| !text.starts_with(mark)).map(SealedToken);
                    let token = sealed.map(|sealed| SealedBefore { session, kind, sealed });
                    page.tokens.extend(token);
                }
            }
            Ok(page)
        })
        .await
    }

    /// A call that is repeated because its answer was lost finds the token sealed anew, and returns
    /// `false`.
    async fn reseal_upstream(
        &self,
        token: &SealedBefore,
        sealed: &SealedToken,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        use upstream_tokens::{access_token, claimed_until, id_token};
        let (before, sealed) = (token.sealed.0.as_str(), sealed.0.as_str());
        self.run(StoreOperation::Upstream, async |connection, _| {
            let row = upstream_tokens::table.find(token.session.as_uuid());
            let resealed = match token.kind {
                UpstreamTokenKind::Refresh => {
                    let is_free = claimed_until.is_null().or(claimed_until.le(bound(now)));
                    diesel::update(row)
                        .filter(upstream_tokens::sealed.eq(before))
                        .filter(is_free.assume_not_null())
                        .set(upstream_tokens::sealed.eq(sealed))
                        .execute(connection)
                        .await?
                }
                UpstreamTokenKind::Id => {
                    diesel::update(row)
                        .filter(id_token.eq(before))
                        .set(id_token.eq(sealed))
                        .execute(connection)
                        .await?
                }
                UpstreamTokenKind::Access => {
                    diesel::update(row)
                        .filter(access_token.eq(before))
                        .set(access_token.eq(sealed))
                        .execute(connection)
                        .await?
                }
            };
            Ok(resealed == 1)
        })
        .await
    }
}
