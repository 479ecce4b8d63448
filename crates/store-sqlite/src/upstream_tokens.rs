//! The providers' tokens that are kept.

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::expression::BoxableExpression;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable};
use diesel::sqlite::Sqlite;
use mintgate_domain::model::{KeptAccess, SealedToken, SessionId, Timestamp, UpstreamTokens};
use mintgate_domain::ports::{
    ClaimedUpstream, SealedBefore, SealedPage, StoreError, StoreOperation, UpstreamDue,
    UpstreamRenewal, UpstreamTokenKind, UpstreamTokenRepo,
};

use crate::json;
use crate::row::{Hex, Row};
use crate::schema::{sessions, upstream_tokens};
use crate::store::SqliteStore;

/// The columns of an access token: all of them are set together.
#[expect(clippy::struct_field_names, reason = "they are the names of the columns")]
#[derive(AsChangeset, Insertable, Queryable, Selectable)]
#[diesel(table_name = upstream_tokens, treat_none_as_null = true)]
pub(crate) struct AccessRow {
    access_token: Option<String>,
    access_scope: Option<String>,
    access_expires_at: Option<i64>,
    access_due_at: Option<i64>,
}

impl From<KeptAccess> for AccessRow {
    fn from(access: KeptAccess) -> Self {
        Self {
            access_token: Some(access.sealed.0),
            access_scope: access.scope,
            access_expires_at: access.expires_at.map(Timestamp::as_unix),
            access_due_at: access.due_at.map(Timestamp::as_unix),
        }
    }
}

impl AccessRow {
    pub(crate) const NONE: Self = Self {
        access_token: None,
        access_scope: None,
        access_expires_at: None,
        access_due_at: None,
    };

    fn kept(self) -> Option<KeptAccess> {
        Some(KeptAccess {
            sealed: SealedToken(self.access_token?),
            scope: self.access_scope,
            expires_at: self.access_expires_at.map(Timestamp::from_unix),
            due_at: self.access_due_at.map(Timestamp::from_unix),
        })
    }
}

#[async_trait]
impl UpstreamTokenRepo for SqliteStore {
    async fn load_upstream(&self, session: SessionId) -> Result<UpstreamTokens, StoreError> {
        use upstream_tokens::{id_token, sealed};
        let look = move |connection: &mut _| {
            let row: Option<(Option<String>, Option<String>, AccessRow)> = upstream_tokens::table
                .find(session.as_uuid().as_bytes().as_slice())
                .select((sealed, id_token, AccessRow::as_select()))
                .get_result(connection)
                .optional()?;
            let Some((refresh, id, access)) = row else { return Ok(UpstreamTokens::default()) };
            let (refresh, id) = (refresh.map(SealedToken), id.map(SealedToken));
            Ok(UpstreamTokens { refresh, id, access: access.kept() })
        };
        self.observed(StoreOperation::Upstream, self.readers.run(look)).await
    }

    async fn claim_upstream(
        &self,
        session: SessionId,
        due: UpstreamDue,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<ClaimedUpstream>, StoreError> {
        let look = move |connection: &mut _| {
            let row = upstream_tokens::table.find(session.as_uuid().as_bytes().as_slice());
            Ok(diesel::select(exists(row.filter(is_free(due, now)))).get_result(connection)?)
        };
        let claim = move |connection: &mut _| {
            let row = upstream_tokens::table.find(session.as_uuid().as_bytes().as_slice());
            let claimed: Option<(Option<String>, i64)> = diesel::update(row)
                .filter(is_free(due, now))
                .set(upstream_tokens::claimed_until.eq(lease.as_unix()))
                .returning((upstream_tokens::sealed, upstream_tokens::asked_at))
                .get_result(connection)
                .optional()?;
            Ok(claimed.and_then(|(sealed, asked_at)| {
                let asked_at = Timestamp::from_unix(asked_at);
                Some(ClaimedUpstream { refresh: SealedToken(sealed?), asked_at })
            }))
        };
        let call = async {
            // Most refreshes find that nothing is due, and need not wait for the writer.
            if self.readers.run(look).await? { self.writer.transact(claim).await } else { Ok(None) }
        };
        self.observed(StoreOperation::Upstream, call).await
    }

    async fn release_upstream(
        &self,
        session: SessionId,
        SealedToken(refresh): &SealedToken,
    ) -> Result<(), StoreError> {
        let refresh = refresh.clone();
        let work = move |connection: &mut _| {
            diesel::update(upstream_tokens::table.find(session.as_uuid().as_bytes().as_slice()))
                .filter(upstream_tokens::sealed.eq(refresh))
                .set(upstream_tokens::claimed_until.eq(None::<i64>))
                .execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Upstream, work).await
    }

    async fn forget_upstream(
        &self,
        session: SessionId,
        SealedToken(refresh): &SealedToken,
    ) -> Result<(), StoreError> {
        let refresh = refresh.clone();
        let work = move |connection: &mut _| {
            let nothing = (
                upstream_tokens::sealed.eq(None::<String>),
                upstream_tokens::claimed_until.eq(None::<i64>),
                AccessRow::NONE,
            );
            diesel::update(upstream_tokens::table.find(session.as_uuid().as_bytes().as_slice()))
                .filter(upstream_tokens::sealed.eq(refresh))
                .set(nothing)
                .execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Upstream, work).await
    }

    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        let UpstreamRenewal { tokens, claimed_roles, at } = renewal.clone();
        let work = move |connection: &mut _| {
            let id = session.as_uuid().as_bytes().as_slice();
            diesel::update(upstream_tokens::table.find(id))
                .set((
                    upstream_tokens::asked_at.eq(at.as_unix()),
                    upstream_tokens::claimed_until.eq(None::<i64>),
                    tokens.refresh.map(|token| upstream_tokens::sealed.eq(token.0)),
                    tokens.id.map(|token| upstream_tokens::id_token.eq(token.0)),
                    tokens.access.map(AccessRow::from),
                ))
                .execute(connection)?;
            if let Some(roles) = &claimed_roles {
                diesel::update(sessions::table.find(id))
                    .set(sessions::claimed_roles.eq(json::roles(roles)))
                    .execute(connection)?;
            }
            Ok(())
        };
        self.write(StoreOperation::Upstream, work).await
    }

    async fn sealed_before(
        &self,
        mark: &str,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<SealedPage, StoreError> {
        use upstream_tokens::{access_token, id_token, sealed, session_id};
        let mark = mark.to_owned();
        let look = move |connection: &mut _| {
            // The nil id sorts before every session's id.
            let after = after.map(|id| *id.as_uuid()).unwrap_or_default();
            let rows: Vec<SealedRow> = upstream_tokens::table
                .filter(session_id.gt(after.as_bytes().as_slice()))
                .order(session_id)
                .limit(limit.into())
                .select((session_id, sealed, id_token, access_token))
                .load(connection)?;
            let is_full = rows.len() == usize::try_from(limit).unwrap_or(usize::MAX);
            let mut page = SealedPage::default();
            for (id, of_refresh, of_id, of_access) in rows {
                let row = Row { table: "upstream_tokens", id: &Hex(&id) };
                let session = SessionId::from_uuid(row.uuid("session_id", &id)?);
                page.next = Some(session).filter(|_| is_full);
                for (kind, text) in [
                    (UpstreamTokenKind::Refresh, of_refresh),
                    (UpstreamTokenKind::Id, of_id),
                    (UpstreamTokenKind::Access, of_access),
                ] {
                    let before = text.filter(|text| !text.starts_with(&mark)).map(SealedToken);
                    page.tokens.extend(before.map(|token| SealedBefore {
                        session,
                        kind,
                        sealed: token,
                    }));
                }
            }
            Ok(page)
        };
        self.observed(StoreOperation::Upstream, self.readers.run(look)).await
    }

    async fn reseal_upstream(
        &self,
        token: &SealedBefore,
        SealedToken(sealed): &SealedToken,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        use upstream_tokens::{access_token, claimed_until, id_token};
        let (token, sealed) = (token.clone(), sealed.clone());
        let work = move |connection: &mut _| {
            let SealedBefore { session, kind, sealed: SealedToken(before) } = token;
            let row = upstream_tokens::table.find(session.as_uuid().as_bytes().as_slice());
            let resealed = match kind {
                UpstreamTokenKind::Refresh => {
                    let is_free = claimed_until.is_null().or(claimed_until.le(now.as_unix()));
                    diesel::update(row.filter(upstream_tokens::sealed.eq(before)).filter(is_free))
                        .set(upstream_tokens::sealed.eq(sealed))
                        .execute(connection)?
                }
                UpstreamTokenKind::Id => diesel::update(row.filter(id_token.eq(before)))
                    .set(id_token.eq(sealed))
                    .execute(connection)?,
                UpstreamTokenKind::Access => diesel::update(row.filter(access_token.eq(before)))
                    .set(access_token.eq(sealed))
                    .execute(connection)?,
            };
            Ok(resealed == 1)
        };
        self.write(StoreOperation::Upstream, work).await
    }
}

/// A session, and its refresh, ID and access token.
type SealedRow = (Vec<u8>, Option<String>, Option<String>, Option<String>);

type Condition =
    Box<dyn BoxableExpression<upstream_tokens::table, Sqlite, SqlType = Nullable<Bool>>>;

/// There is a refresh token, it is due, and nobody is asking the provider at `now`.
fn is_free(due: UpstreamDue, now: Timestamp) -> Condition {
    use upstream_tokens::{access_due_at, access_token, asked_at, claimed_until, sealed};
    let is_claimed_by_none = claimed_until.is_null().or(claimed_until.le(now.as_unix()));
    let is_free = sealed.is_not_null().and(is_claimed_by_none);
    match due {
        UpstreamDue::Recheck(at) => Box::new(is_free.and(asked_at.le(at.as_unix()))),
        UpstreamDue::Access(at) => {
            let is_due = access_token.is_null().or(access_due_at.le(at.as_unix()));
            Box::new(is_free.and(is_due))
        }
    }
}
