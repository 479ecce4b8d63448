//! Opens a session: everything a sign-in writes, as one statement.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::serialize::ToSql;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, HasSqlType, Json, Nullable, Text, Timestamptz, Uuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{Role, SessionOpening, SessionOwner};
use mintgate_domain::ports::{OpenOutcome, StoreError};

use crate::error::Failure;
use crate::json::to_json;
use crate::pool::Statement;
use crate::time::to_postgres;

/// The statement and its values.
///
/// What each part of it is for:
/// - `existing` locks the user's row against being disabled, and the identity's against being
///   unlinked, until the session is committed; who is disabled already, or gone, or not known by
///   this identity any more, gives no row, and then nothing is written.
/// - The session comes first and the rest follows from it, so that a repeated call is told by
///   the session's own primary key before any other.
/// - `forgotten` makes room for the idempotency record where the key's last one has expired; one
///   that has not refuses the whole statement. It is asked next, before `entered` lets the rest
///   follow: who repeats a request is told so, whatever else is taken by then.
/// - Postgres checks the foreign keys at the end, when the new user is there too.
pub(crate) struct OpenSession<'a> {
    values: &'a Values<'a>,
}

/// The values as columns have them.
pub(crate) struct Values<'a> {
    opening: &'a SessionOpening,
    user_id: uuid::Uuid,
    /// Given for a new user, and what tells a new one from an existing one.
    issuer: Option<&'a str>,
    subject: Option<&'a str>,
    generation: i64,
    issued_at: PgTimestamp,
    expires_at: PgTimestamp,
    absolute_expires_at: PgTimestamp,
    created_at: PgTimestamp,
    roles: Vec<&'a str>,
    auth_time: PgTimestamp,
    extra_claims: serde_json::Value,
    claimed_roles: Vec<&'a str>,
    mark: Option<&'a [u8]>,
    mark_until: Option<PgTimestamp>,
    sealed: Option<&'a str>,
    key_hash: Option<&'a [u8]>,
    body_hash: Option<&'a [u8]>,
    key_until: Option<PgTimestamp>,
}

impl<'a> Values<'a> {
    pub(crate) fn statement(&'a self) -> OpenSession<'a> {
        OpenSession { values: self }
    }
}

impl<'a> TryFrom<&'a SessionOpening> for Values<'a> {
    type Error = StoreError;

    fn try_from(opening: &'a SessionOpening) -> Result<Self, StoreError> {
        let identity = match &opening.owner {
            SessionOwner::New(user) => Some(&user.identity),
            SessionOwner::Existing(_) => None,
        };
        let session = &opening.session;
        let grant = &session.grant;
        let mark = opening.single_use.as_ref();
        let idempotency = opening.idempotency.as_ref();
        Ok(Self {
            opening,
            user_id: *opening.owner.user_id().as_uuid(),
            issuer: identity.map(|i| i.issuer.as_str()),
            subject: identity.map(|i| i.subject.as_str()),
            generation: i64::try_from(session.refresh.generation)
                .map_err(|_| StoreError::Corrupt("gen is out of range".into()))?,
            issued_at: to_postgres(session.refresh.issued_at, "cur_iat")?,
            expires_at: to_postgres(session.refresh.expires_at, "cur_exp")?,
            absolute_expires_at: to_postgres(session.absolute_expires_at, "absolute_expires_at")?,
            created_at: to_postgres(session.created_at, "created_at")?,
            roles: grant.roles.iter().map(Role::as_str).collect(),
            auth_time: to_postgres(grant.auth_time, "auth_time")?,
            extra_claims: serde_json::Value::Object(
                grant.extra.iter().map(|(name, value)| (name.clone(), to_json(value))).collect(),
            ),
            claimed_roles: session.claimed_roles.iter().map(Role::as_str).collect(),
            mark: mark.map(|m| m.hash.as_bytes().as_slice()),
            mark_until: mark.map(|m| to_postgres(m.expires_at, "expires_at")).transpose()?,
            sealed: opening.upstream.as_ref().map(|token| token.0.as_str()),
            key_hash: idempotency.map(|i| i.request.key.as_bytes().as_slice()),
            body_hash: idempotency.map(|i| i.request.body.as_bytes().as_slice()),
            key_until: idempotency.map(|i| to_postgres(i.expires_at, "expires_at")).transpose()?,
        })
    }
}

impl Statement for OpenSession<'_> {
    type Output = OpenOutcome;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<OpenOutcome, Failure> {
        // To the end of the answer: its one row comes before the commit.
        match self.get_results::<(bool, bool)>(connection).await {
            Ok(rows) => Ok(match rows.as_slice() {
                [(true, _), ..] => OpenOutcome::Opened,
                // Whoever it is may sign in, and not as this user: the identity was unlinked.
                [(false, true), ..] => OpenOutcome::IdentityTaken,
                [(false, false), ..] | [] => OpenOutcome::UserDisabled,
            }),
            Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, information)) => {
                match information.constraint_name() {
                    // Session ids are random and fresh: an earlier attempt of this very call got through.
                    Some("sessions_pkey") => Ok(OpenOutcome::Opened),
                    Some("idempotency_keys_pkey") => Ok(OpenOutcome::IdempotencyKeyTaken),
                    Some("external_identities_pkey") => Ok(OpenOutcome::IdentityTaken),
                    Some("single_use_marks_pkey") => Ok(OpenOutcome::Replayed),
                    _ => Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, information)
                        .into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// One text for every call, so that it is parsed and planned once per connection.
impl QueryId for OpenSession<'_> {
    type QueryId = OpenSession<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for OpenSession<'_> {
    type SqlType = (Bool, Bool);
}

impl QueryFragment<Pg> for OpenSession<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let v = self.values;
        let session = &v.opening.session;
        let (refresh, grant, client) = (&session.refresh, &session.grant, &session.client);

        out.push_sql("WITH existing AS (SELECT u.id FROM users AS u, external_identities AS e ");
        bind::<Uuid, _>(&mut out, "WHERE u.id = ", &v.user_id)?;
        bind::<Nullable<Text>, _>(&mut out, " AND ", &v.issuer)?;
        out.push_sql(" IS NULL AND u.disabled_at IS NULL AND e.user_id = u.id");
        bind::<Text, _>(&mut out, " AND e.issuer = ", &session.identity.issuer)?;
        bind::<Text, _>(&mut out, " AND e.subject = ", &session.identity.subject)?;
        out.push_sql(" FOR SHARE OF u FOR KEY SHARE OF e), ");

        out.push_sql("owner AS (SELECT id FROM existing UNION ALL SELECT ");
        bind::<Uuid, _>(&mut out, "", &v.user_id)?;
        bind::<Nullable<Text>, _>(&mut out, " WHERE ", &v.issuer)?;
        out.push_sql(" IS NOT NULL), ");

        out.push_sql(
            "session AS (INSERT INTO sessions (user_id, id, provider, issuer, subject, \
             upstream_sid, claimed_roles, gen, cur_hash, cur_kid, cur_iat, cur_exp, \
             absolute_expires_at, created_at, last_used_at, user_agent, ip_prefix, roles, \
             auth_time, acr, amr, extra_claims) SELECT owner.id",
        );
        bind::<Uuid, _>(&mut out, ", ", session.id.as_uuid())?;
        bind::<Text, _>(&mut out, ", ", session.provider.as_str())?;
        bind::<Text, _>(&mut out, ", ", &session.identity.issuer)?;
        bind::<Text, _>(&mut out, ", ", &session.identity.subject)?;
        bind::<Nullable<Text>, _>(&mut out, ", ", &session.upstream_sid)?;
        bind::<Array<Text>, _>(&mut out, ", ", &v.claimed_roles)?;
        bind::<BigInt, _>(&mut out, ", ", &v.generation)?;
        bind::<Binary, _>(&mut out, ", ", refresh.hash.as_bytes().as_slice())?;
        bind::<Text, _>(&mut out, ", ", refresh.key_id.as_str())?;
        bind::<Timestamptz, _>(&mut out, ", ", &v.issued_at)?;
        bind::<Timestamptz, _>(&mut out, ", ", &v.expires_at)?;
        bind::<Timestamptz, _>(&mut out, ", ", &v.absolute_expires_at)?;
        bind::<Timestamptz, _>(&mut out, ", ", &v.created_at)?;
        bind::<Timestamptz, _>(&mut out, ", ", &v.created_at)?;
        bind::<Nullable<Text>, _>(&mut out, ", ", &client.user_agent)?;
        bind::<Nullable<Text>, _>(&mut out, ", ", &client.ip_prefix)?;
        bind::<Array<Text>, _>(&mut out, ", ", &v.roles)?;
        bind::<Timestamptz, _>(&mut out, ", ", &v.auth_time)?;
        bind::<Nullable<Text>, _>(&mut out, ", ", &grant.acr)?;
        bind::<Array<Text>, _>(&mut out, ", ", &grant.amr)?;
        bind::<Json, _>(&mut out, ", ", &v.extra_claims)?;
        out.push_sql(" FROM owner RETURNING id, user_id), ");

        out.push_sql("forgotten AS (DELETE FROM idempotency_keys AS k USING session ");
        bind::<Nullable<Binary>, _>(&mut out, "WHERE k.key_hash = ", &v.key_hash)?;
        bind::<Timestamptz, _>(&mut out, " AND k.expires_at <= ", &v.created_at)?;
        out.push_sql(
            " RETURNING k.key_hash), \
             remembered AS (INSERT INTO idempotency_keys (session_id, key_hash, body_hash, \
             expires_at) SELECT id",
        );
        bind::<Nullable<Binary>, _>(&mut out, ", ", &v.key_hash)?;
        bind::<Nullable<Binary>, _>(&mut out, ", ", &v.body_hash)?;
        bind::<Nullable<Timestamptz>, _>(&mut out, ", ", &v.key_until)?;
        bind::<Nullable<Binary>, _>(&mut out, " FROM session WHERE ", &v.key_hash)?;
        out.push_sql(
            " IS NOT NULL AND (SELECT count(*) FROM forgotten) >= 0 RETURNING session_id), \
             entered AS (SELECT user_id FROM session \
             WHERE (SELECT count(*) FROM remembered) >= 0), ",
        );

        out.push_sql("mark AS (INSERT INTO single_use_marks (hash, expires_at) SELECT ");
        bind::<Nullable<Binary>, _>(&mut out, "", &v.mark)?;
        bind::<Nullable<Timestamptz>, _>(&mut out, ", ", &v.mark_until)?;
        bind::<Nullable<Binary>, _>(&mut out, " FROM entered WHERE ", &v.mark)?;
        out.push_sql(" IS NOT NULL), ");

        out.push_sql("upstream AS (INSERT INTO upstream_tokens (session_id, sealed, asked_at) ");
        bind::<Nullable<Text>, _>(&mut out, "SELECT id, ", &v.sealed)?;
        bind::<Timestamptz, _>(&mut out, ", ", &v.created_at)?;
        bind::<Nullable<Text>, _>(&mut out, " FROM session WHERE ", &v.sealed)?;
        out.push_sql(" IS NOT NULL), ");

        out.push_sql("new_user AS (INSERT INTO users (id, created_at) SELECT user_id");
        bind::<Timestamptz, _>(&mut out, ", ", &v.created_at)?;
        bind::<Nullable<Text>, _>(&mut out, " FROM entered WHERE ", &v.issuer)?;
        out.push_sql(" IS NOT NULL RETURNING id), ");

        out.push_sql(
            "identity AS (INSERT INTO external_identities (user_id, issuer, subject, provider, \
             created_at) SELECT id",
        );
        bind::<Nullable<Text>, _>(&mut out, ", ", &v.issuer)?;
        bind::<Nullable<Text>, _>(&mut out, ", ", &v.subject)?;
        bind::<Text, _>(&mut out, ", ", session.provider.as_str())?;
        bind::<Timestamptz, _>(&mut out, ", ", &v.created_at)?;
        out.push_sql(" FROM new_user) SELECT EXISTS (SELECT FROM session), ");
        bind::<Uuid, _>(&mut out, "EXISTS (SELECT FROM users WHERE id = ", &v.user_id)?;
        out.push_sql(" AND disabled_at IS NULL)");
        Ok(())
    }
}

/// Pushes a piece of SQL and, behind it, a value.
fn bind<'b, ST, T>(out: &mut AstPass<'_, 'b, Pg>, before: &str, value: &'b T) -> QueryResult<()>
where
    Pg: HasSqlType<ST>,
    T: ToSql<ST, Pg> + ?Sized,
{
    out.push_sql(before);
    out.push_bind_param::<ST, T>(value)
}
