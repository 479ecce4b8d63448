//! A row of `sessions`, and the session it is.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, ExternalIdentity, KeyId, PreviousToken, ProviderId, RefreshState,
    RevokeReason, Session, SessionEnd, SessionEpochs, SessionId, UserId,
};
use mintgate_domain::ports::StoreError;

use crate::error::RowName;
use crate::json::from_json;
use crate::schema::sessions;

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg))]
pub(crate) struct SessionRow {
    id: uuid::Uuid,
    user_id: uuid::Uuid,
    provider: String,
    r#gen: i64,
    cur_hash: Vec<u8>,
    cur_kid: String,
    cur_iat: PgTimestamp,
    cur_exp: PgTimestamp,
    prev_hash: Option<Vec<u8>>,
    prev_replays: i16,
    pub(crate) rotated_at: Option<PgTimestamp>,
    absolute_expires_at: PgTimestamp,
    revoked_at: Option<PgTimestamp>,
    revoke_reason: Option<String>,
    created_at: PgTimestamp,
    last_used_at: PgTimestamp,
    user_agent: Option<String>,
    ip_prefix: Option<String>,
    roles: Vec<Option<String>>,
    auth_time: PgTimestamp,
    acr: Option<String>,
    amr: Vec<Option<String>>,
    extra_claims: serde_json::Value,
    issuer: String,
    subject: String,
    upstream_sid: Option<String>,
    claimed_roles: Vec<Option<String>>,
    user_epoch: i64,
    identity_epoch: Option<i64>,
}

impl SessionRow {
    fn previous(&self, name: &RowName<'_>) -> Result<Option<PreviousToken>, StoreError> {
        let Some(hash) = &self.prev_hash else { return Ok(None) };
        // Kept to fractions of a second; the session knows whole ones.
        let rotated_at = self.rotated_at.ok_or_else(|| name.corrupt("rotated_at"))?;
        Ok(Some(PreviousToken {
            hash: name.hash("prev_hash", hash)?,
            rotated_at: name.time("rotated_at", rotated_at)?,
            replays: name.number("prev_replays", self.prev_replays)?,
        }))
    }

    fn end(&self, name: &RowName<'_>) -> Result<Option<SessionEnd>, StoreError> {
        let at = name.maybe_time("revoked_at", self.revoked_at)?;
        let reason =
            self.revoke_reason.as_deref().map_or(RevokeReason::Other, RevokeReason::from_name);
        Ok(at.map(|at| SessionEnd { at, reason }))
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let name = RowName { table: "sessions", id: &row.id };
        let refresh = RefreshState {
            generation: name.number("gen", row.r#gen)?,
            hash: name.hash("cur_hash", &row.cur_hash)?,
            key_id: KeyId::new(row.cur_kid.as_str()),
            issued_at: name.time("cur_iat", row.cur_iat)?,
            expires_at: name.time("cur_exp", row.cur_exp)?,
        };
        let (previous, end) = (row.previous(&name)?, row.end(&name)?);
        let serde_json::Value::Object(extra) = row.extra_claims else {
            return Err(name.corrupt("extra_claims"));
        };
        let grant = AccessGrant {
            roles: name.roles("roles", row.roles)?,
            auth_time: name.time("auth_time", row.auth_time)?,
            acr: row.acr,
            amr: name.texts("amr", row.amr)?,
            extra: extra.into_iter().map(|(name, value)| (name, from_json(value))).collect(),
        };
        let identity_epoch = row.identity_epoch.map(|epoch| name.number("identity_epoch", epoch));
        Ok(Self {
            id: SessionId::from_uuid(row.id),
            user: UserId::from_uuid(row.user_id),
            epochs: SessionEpochs {
                user: name.number("user_epoch", row.user_epoch)?,
                identity: identity_epoch.transpose()?,
            },
            provider: ProviderId::new(row.provider),
            identity: ExternalIdentity { issuer: row.issuer, subject: row.subject },
            upstream_sid: row.upstream_sid,
            claimed_roles: name.roles("claimed_roles", row.claimed_roles)?,
            refresh,
            previous,
            absolute_expires_at: name.time("absolute_expires_at", row.absolute_expires_at)?,
            grant,
            client: ClientInfo { user_agent: row.user_agent, ip_prefix: row.ip_prefix },
            created_at: name.time("created_at", row.created_at)?,
            last_used_at: name.time("last_used_at", row.last_used_at)?,
            end,
        })
    }
}
