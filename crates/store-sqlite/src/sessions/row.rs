//! A session's row, and the session that it is.

use diesel::prelude::*;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, ExternalIdentity, KeyId, NewSession, PreviousToken, ProviderId,
    RefreshState, RevokeReason, Session, SessionEnd, SessionEpochs, SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::StoreError;

use crate::json;
use crate::row::{Hex, Row};
use crate::schema::sessions;

/// A row of the table `sessions`, in SQLite's types.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
pub(crate) struct SessionRow {
    id: Vec<u8>,
    user_id: Vec<u8>,
    provider: String,
    issuer: String,
    subject: String,
    upstream_sid: Option<String>,
    generation: i64,
    cur_hash: Vec<u8>,
    cur_kid: String,
    cur_iat: i64,
    cur_exp: i64,
    prev_hash: Option<Vec<u8>>,
    prev_replays: i64,
    rotated_at: Option<i64>,
    absolute_expires_at: i64,
    revoked_at: Option<i64>,
    revoke_reason: Option<String>,
    created_at: i64,
    last_used_at: i64,
    user_agent: Option<String>,
    ip_prefix: Option<String>,
    roles: String,
    auth_time: i64,
    acr: Option<String>,
    amr: String,
    extra_claims: String,
    claimed_roles: String,
    user_epoch: i64,
    identity_epoch: Option<i64>,
    restore_epoch: i64,
}

impl From<NewSession> for SessionRow {
    fn from(new: NewSession) -> Self {
        let NewSession { refresh, grant, .. } = new;
        Self {
            id: new.id.as_uuid().as_bytes().to_vec(),
            user_id: new.user.as_uuid().as_bytes().to_vec(),
            provider: new.provider.as_str().to_owned(),
            issuer: new.identity.issuer,
            subject: new.identity.subject,
            upstream_sid: new.upstream_sid,
            generation: signed(refresh.generation),
            cur_hash: refresh.hash.as_bytes().to_vec(),
            cur_kid: refresh.key_id.as_str().to_owned(),
            cur_iat: refresh.issued_at.as_unix(),
            cur_exp: refresh.expires_at.as_unix(),
            prev_hash: None,
            prev_replays: 0,
            rotated_at: None,
            absolute_expires_at: new.absolute_expires_at.as_unix(),
            revoked_at: None,
            revoke_reason: None,
            created_at: new.created_at.as_unix(),
            last_used_at: new.created_at.as_unix(),
            user_agent: new.client.user_agent,
            ip_prefix: new.client.ip_prefix,
            roles: json::roles(&grant.roles),
            auth_time: grant.auth_time.as_unix(),
            acr: grant.acr,
            amr: json::texts(grant.amr.iter().map(String::as_str)),
            extra_claims: json::claims(&grant.extra),
            claimed_roles: json::roles(&new.claimed_roles),
            user_epoch: signed(new.epochs.user),
            identity_epoch: new.epochs.identity.map(signed),
            restore_epoch: signed(new.epochs.restore),
        }
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(columns: SessionRow) -> Result<Self, StoreError> {
        let row = Row { table: "sessions", id: &Hex(&columns.id) };
        let identity_epoch = columns.identity_epoch;
        let epochs = SessionEpochs {
            user: row.number("user_epoch", columns.user_epoch)?,
            identity: identity_epoch.map(|n| row.number("identity_epoch", n)).transpose()?,
            restore: row.number("restore_epoch", columns.restore_epoch)?,
        };
        let refresh = RefreshState {
            generation: row.number("gen", columns.generation)?,
            hash: row.hash("cur_hash", &columns.cur_hash)?,
            key_id: KeyId::new(columns.cur_kid),
            issued_at: Timestamp::from_unix(columns.cur_iat),
            expires_at: Timestamp::from_unix(columns.cur_exp),
        };
        let previous = match columns.prev_hash {
            None => None,
            Some(hash) => Some(PreviousToken {
                hash: row.hash("prev_hash", &hash)?,
                rotated_at: Timestamp::from_unix(
                    columns.rotated_at.ok_or_else(|| row.corrupt("rotated_at"))?,
                ),
                replays: row.number("prev_replays", columns.prev_replays)?,
            }),
        };
        let end = match (columns.revoked_at, columns.revoke_reason) {
            (None, None) => None,
            (Some(at), Some(name)) => Some(SessionEnd {
                at: Timestamp::from_unix(at),
                reason: RevokeReason::from_name(&name),
            }),
            // Half an end: neither a live session nor one whose end is known.
            (None, Some(_)) => return Err(row.corrupt("revoked_at")),
            (Some(_), None) => return Err(row.corrupt("revoke_reason")),
        };
        let grant = AccessGrant {
            roles: row.roles("roles", &columns.roles)?,
            auth_time: Timestamp::from_unix(columns.auth_time),
            acr: columns.acr,
            amr: row.texts("amr", &columns.amr)?,
            extra: json::read_claims(&columns.extra_claims)
                .ok_or_else(|| row.corrupt("extra_claims"))?,
        };
        Ok(Self {
            id: SessionId::from_uuid(row.uuid("id", &columns.id)?),
            user: UserId::from_uuid(row.uuid("user_id", &columns.user_id)?),
            epochs,
            provider: ProviderId::new(columns.provider),
            identity: ExternalIdentity { issuer: columns.issuer, subject: columns.subject },
            upstream_sid: columns.upstream_sid,
            claimed_roles: row.roles("claimed_roles", &columns.claimed_roles)?,
            refresh,
            previous,
            absolute_expires_at: Timestamp::from_unix(columns.absolute_expires_at),
            grant,
            client: ClientInfo { user_agent: columns.user_agent, ip_prefix: columns.ip_prefix },
            created_at: Timestamp::from_unix(columns.created_at),
            last_used_at: Timestamp::from_unix(columns.last_used_at),
            end,
        })
    }
}

/// A counter as SQLite's integer. One that it cannot hold, which would take longer to reach than
/// there is time, stays at the largest.
pub(crate) fn signed(counter: u64) -> i64 {
    counter.try_into().unwrap_or(i64::MAX)
}
