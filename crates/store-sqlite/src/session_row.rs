//! A session's row, and the session that it is.

use diesel::prelude::*;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, ExternalIdentity, KeyId, PreviousToken, ProviderId, RefreshState,
    RevokeReason, Role, Session, SessionEnd, SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::StoreError;
use uuid::Uuid;

use crate::json;
use crate::schema::sessions;

/// Every column, as SQLite has it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
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
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    /// What cannot be is named by its column; the value stays where it is.
    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let previous = previous(&row)?;
        let end = end(&row)?;
        let roles = roles(&row.roles, "roles")?;
        let claimed_roles = self::roles(&row.claimed_roles, "claimed_roles")?;
        Ok(Self {
            id: SessionId::from_uuid(uuid(&row.id, "id")?),
            user: UserId::from_uuid(uuid(&row.user_id, "user_id")?),
            provider: ProviderId::new(row.provider),
            identity: ExternalIdentity { issuer: row.issuer, subject: row.subject },
            upstream_sid: row.upstream_sid,
            claimed_roles,
            refresh: RefreshState {
                generation: row.generation.try_into().map_err(|_| corrupt("gen"))?,
                hash: hash(&row.cur_hash, "cur_hash")?,
                key_id: KeyId::new(row.cur_kid),
                issued_at: Timestamp::from_unix(row.cur_iat),
                expires_at: Timestamp::from_unix(row.cur_exp),
            },
            previous,
            absolute_expires_at: Timestamp::from_unix(row.absolute_expires_at),
            grant: AccessGrant {
                roles,
                auth_time: Timestamp::from_unix(row.auth_time),
                acr: row.acr,
                amr: json::read_texts(&row.amr).ok_or_else(|| corrupt("amr"))?,
                extra: json::read_claims(&row.extra_claims)
                    .ok_or_else(|| corrupt("extra_claims"))?,
            },
            client: ClientInfo { user_agent: row.user_agent, ip_prefix: row.ip_prefix },
            created_at: Timestamp::from_unix(row.created_at),
            last_used_at: Timestamp::from_unix(row.last_used_at),
            end,
        })
    }
}

fn previous(row: &SessionRow) -> Result<Option<PreviousToken>, StoreError> {
    let Some(prev_hash) = &row.prev_hash else { return Ok(None) };
    let rotated_at = row.rotated_at.ok_or_else(|| corrupt("rotated_at"))?;
    Ok(Some(PreviousToken {
        hash: hash(prev_hash, "prev_hash")?,
        rotated_at: Timestamp::from_unix(rotated_at),
        replays: row.prev_replays.try_into().map_err(|_| corrupt("prev_replays"))?,
    }))
}

fn end(row: &SessionRow) -> Result<Option<SessionEnd>, StoreError> {
    match (row.revoked_at, &row.revoke_reason) {
        (None, None) => Ok(None),
        (Some(at), Some(name)) => {
            let reason = RevokeReason::from_name(name).ok_or_else(|| corrupt("revoke_reason"))?;
            Ok(Some(SessionEnd { at: Timestamp::from_unix(at), reason }))
        }
        // Half an end: neither a live session nor one that can be told about.
        (None, Some(_)) => Err(corrupt("revoked_at")),
        (Some(_), None) => Err(corrupt("revoke_reason")),
    }
}

/// Roles from the JSON array they are stored as.
fn roles(json: &str, column: &str) -> Result<Vec<Role>, StoreError> {
    let names = json::read_texts(json).ok_or_else(|| corrupt(column))?;
    Ok(names.into_iter().map(Role::new).collect())
}

/// An identifier from its 16 bytes.
pub(crate) fn uuid(bytes: &[u8], column: &str) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|_| corrupt(column))
}

/// A digest from its 32 bytes.
pub(crate) fn hash(bytes: &[u8], column: &str) -> Result<TokenHash, StoreError> {
    bytes.try_into().map(TokenHash::from_bytes).map_err(|_| corrupt(column))
}

/// A column holds something that no version of this program writes.
pub(crate) fn corrupt(column: &str) -> StoreError {
    StoreError::Corrupt(format!("{column} cannot be read").into())
}
