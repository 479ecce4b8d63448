//! A row of `sessions`, and the session it is.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, SmallInt, Text, Timestamptz, Uuid};
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, ExternalIdentity, KeyId, PreviousToken, ProviderId, RefreshState,
    RevokeReason, Role, Session, SessionEnd, SessionId, UserId,
};
use mintgate_domain::ports::StoreError;

use crate::json::from_json;
use crate::time::from_postgres;

/// The columns of a [`SessionRow`], of the table or alias of this name.
macro_rules! session_columns {
    ($table:literal) => {
        $crate::session_row::session_columns!(
            $table: ".id, " ".user_id, " ".provider, " ".issuer, " ".subject, " ".upstream_sid, "
            ".claimed_roles, " ".gen, " ".cur_hash, " ".cur_kid, " ".cur_iat, " ".cur_exp, " ".prev_hash, " ".prev_replays, " ".rotated_at, "
            ".absolute_expires_at, " ".revoked_at, " ".revoke_reason, " ".created_at, "
            ".last_used_at, " ".user_agent, " ".ip_prefix, " ".roles, " ".auth_time, " ".acr, "
            ".amr, " ".extra_claims::text AS extra_claims"
        )
    };
    ($table:literal: $($column:literal)+) => { concat!($($table, $column),+) };
}
pub(crate) use session_columns;

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct SessionRow {
    #[diesel(sql_type = Uuid)]
    id: uuid::Uuid,
    #[diesel(sql_type = Uuid)]
    user_id: uuid::Uuid,
    #[diesel(sql_type = Text)]
    provider: String,
    #[diesel(sql_type = Text)]
    issuer: String,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Nullable<Text>)]
    upstream_sid: Option<String>,
    #[diesel(sql_type = Array<Nullable<Text>>)]
    claimed_roles: Vec<Option<String>>,
    #[diesel(sql_type = BigInt)]
    r#gen: i64,
    #[diesel(sql_type = Binary)]
    cur_hash: Vec<u8>,
    #[diesel(sql_type = Text)]
    cur_kid: String,
    #[diesel(sql_type = Timestamptz)]
    cur_iat: PgTimestamp,
    #[diesel(sql_type = Timestamptz)]
    cur_exp: PgTimestamp,
    #[diesel(sql_type = Nullable<Binary>)]
    prev_hash: Option<Vec<u8>>,
    #[diesel(sql_type = SmallInt)]
    prev_replays: i16,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    rotated_at: Option<PgTimestamp>,
    #[diesel(sql_type = Timestamptz)]
    absolute_expires_at: PgTimestamp,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    revoked_at: Option<PgTimestamp>,
    #[diesel(sql_type = Nullable<Text>)]
    revoke_reason: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    created_at: PgTimestamp,
    #[diesel(sql_type = Timestamptz)]
    last_used_at: PgTimestamp,
    #[diesel(sql_type = Nullable<Text>)]
    user_agent: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    ip_prefix: Option<String>,
    #[diesel(sql_type = Array<Nullable<Text>>)]
    roles: Vec<Option<String>>,
    #[diesel(sql_type = Timestamptz)]
    auth_time: PgTimestamp,
    #[diesel(sql_type = Nullable<Text>)]
    acr: Option<String>,
    #[diesel(sql_type = Array<Nullable<Text>>)]
    amr: Vec<Option<String>>,
    /// Parsed here, where a failure can be told by the column's name.
    #[diesel(sql_type = Text)]
    extra_claims: String,
}

impl SessionRow {
    fn previous(&self) -> Result<Option<PreviousToken>, StoreError> {
        let Some(hash) = &self.prev_hash else { return Ok(None) };
        // Kept to fractions of a second; the session knows whole ones.
        let rotated_at = self.rotated_at.ok_or_else(|| unreadable("rotated_at"))?;
        Ok(Some(PreviousToken {
            hash: token_hash(hash, "prev_hash")?,
            rotated_at: from_postgres(rotated_at, "rotated_at")?,
            replays: self.prev_replays.try_into().map_err(|_| unreadable("prev_replays"))?,
        }))
    }

    fn end(&self) -> Result<Option<SessionEnd>, StoreError> {
        let Some(at) = self.revoked_at else { return Ok(None) };
        let reason = self.revoke_reason.as_deref().and_then(RevokeReason::from_name);
        Ok(Some(SessionEnd {
            at: from_postgres(at, "revoked_at")?,
            reason: reason.ok_or_else(|| unreadable("revoke_reason"))?,
        }))
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let refresh = RefreshState {
            generation: row.r#gen.try_into().map_err(|_| unreadable("gen"))?,
            hash: token_hash(&row.cur_hash, "cur_hash")?,
            key_id: KeyId::new(row.cur_kid.as_str()),
            issued_at: from_postgres(row.cur_iat, "cur_iat")?,
            expires_at: from_postgres(row.cur_exp, "cur_exp")?,
        };
        let (previous, end) = (row.previous()?, row.end()?);
        let extra: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&row.extra_claims).map_err(|_| unreadable("extra_claims"))?;
        let grant = AccessGrant {
            roles: roles(row.roles, "roles")?,
            auth_time: from_postgres(row.auth_time, "auth_time")?,
            acr: row.acr,
            amr: texts(row.amr, "amr")?,
            extra: extra.into_iter().map(|(name, value)| (name, from_json(value))).collect(),
        };
        Ok(Self {
            id: SessionId::from_uuid(row.id),
            user: UserId::from_uuid(row.user_id),
            provider: ProviderId::new(row.provider),
            identity: ExternalIdentity { issuer: row.issuer, subject: row.subject },
            upstream_sid: row.upstream_sid,
            claimed_roles: roles(row.claimed_roles, "claimed_roles")?,
            refresh,
            previous,
            absolute_expires_at: from_postgres(row.absolute_expires_at, "absolute_expires_at")?,
            grant,
            client: ClientInfo { user_agent: row.user_agent, ip_prefix: row.ip_prefix },
            created_at: from_postgres(row.created_at, "created_at")?,
            last_used_at: from_postgres(row.last_used_at, "last_used_at")?,
            end,
        })
    }
}

pub(crate) fn token_hash(bytes: &[u8], column: &str) -> Result<TokenHash, StoreError> {
    bytes.try_into().map(TokenHash::from_bytes).map_err(|_| unreadable(column))
}

pub(crate) fn roles(texts: Vec<Option<String>>, column: &str) -> Result<Vec<Role>, StoreError> {
    Ok(self::texts(texts, column)?.into_iter().map(Role::new).collect())
}

fn texts(texts: Vec<Option<String>>, column: &str) -> Result<Vec<String>, StoreError> {
    let texts = texts.into_iter().collect::<Option<_>>();
    texts.ok_or_else(|| StoreError::Corrupt(format!("{column} holds a null").into()))
}

/// Says nothing of the value.
pub(crate) fn unreadable(column: &str) -> StoreError {
    StoreError::Corrupt(format!("{column} cannot be read").into())
}
