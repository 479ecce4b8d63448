//! A row of `sessions`, and the session it is.

use diesel::data_types::PgTimestamp;
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::prelude::*;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, ExternalIdentity, KeyId, PreviousToken, ProviderId, RefreshState,
    RevokeReason, Rotation, Session, SessionEnd, SessionEpochs, SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::StoreError;

use crate::error::RowName;
use crate::json::from_json;
use crate::schema::sessions;

/// A session's row.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg))]
pub(crate) struct SessionRow {
    id: uuid::Uuid,
    user_id: uuid::Uuid,
    #[diesel(embed)]
    tokens: TokensRow,
    revoked_at: Option<PgTimestamp>,
    revoke_reason: Option<String>,
    #[diesel(embed)]
    lasting: LastingRow,
}

/// What each rotation writes.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg))]
pub(crate) struct TokensRow {
    r#gen: i64,
    cur_hash: Vec<u8>,
    cur_kid: String,
    cur_iat: PgTimestamp,
    cur_exp: PgTimestamp,
    prev_hash: Option<Vec<u8>>,
    prev_replays: i16,
    rotated_at: Option<PgTimestamp>,
    last_used_at: PgTimestamp,
}

/// What a rotation leaves as it was, except that it may write `roles`: all that whoever rotates does
/// not know of the row.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg))]
pub(crate) struct LastingRow {
    provider: String,
    absolute_expires_at: PgTimestamp,
    created_at: PgTimestamp,
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
    restore_epoch: i64,
}

/// The types of the columns of [`LastingRow`].
pub(crate) type LastingColumns = SqlTypeOf<AsSelect<LastingRow, Pg>>;

/// The names of the columns of [`LastingRow`], for a statement that is text.
macro_rules! lasting_columns {
    () => {
        "provider, absolute_expires_at, created_at, user_agent, ip_prefix, roles, auth_time, acr, \
        amr, extra_claims, issuer, subject, upstream_sid, claimed_roles, user_epoch, identity_epoch, \
        restore_epoch"
    };
}
pub(crate) use lasting_columns;

/// The part of a session that its tokens are.
struct Tokens {
    current: RefreshState,
    previous: Option<PreviousToken>,
    last_used_at: Timestamp,
    end: Option<SessionEnd>,
}

impl SessionRow {
    fn tokens(&self, name: &RowName<'_>) -> Result<Tokens, StoreError> {
        let row = &self.tokens;
        let reason =
            self.revoke_reason.as_deref().map_or(RevokeReason::Other, RevokeReason::from_name);
        let revoked_at = name.maybe_time("revoked_at", self.revoked_at)?;
        Ok(Tokens {
            current: RefreshState {
                generation: name.number("gen", row.r#gen)?,
                hash: name.hash("cur_hash", &row.cur_hash)?,
                key_id: KeyId::new(row.cur_kid.as_str()),
                issued_at: name.time("cur_iat", row.cur_iat)?,
                expires_at: name.time("cur_exp", row.cur_exp)?,
            },
            previous: row.previous(name)?,
            last_used_at: name.time("last_used_at", row.last_used_at)?,
            end: revoked_at.map(|at| SessionEnd { at, reason }),
        })
    }

    /// The time of the last rotation, to fractions of a second; `None` before the first one.
    pub(crate) fn rotated_at(&self) -> Option<PgTimestamp> {
        self.tokens.rotated_at
    }
}

impl TokensRow {
    fn previous(&self, name: &RowName<'_>) -> Result<Option<PreviousToken>, StoreError> {
        let Some(hash) = &self.prev_hash else { return Ok(None) };
        let rotated_at = self.rotated_at.ok_or_else(|| name.corrupt("rotated_at"))?;
        Ok(Some(PreviousToken {
            hash: name.hash("prev_hash", hash)?,
            rotated_at: name.time("rotated_at", rotated_at)?,
            replays: name.number("prev_replays", self.prev_replays)?,
        }))
    }
}

impl LastingRow {
    /// The session as a rotation has left it at `rotated_at`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the row cannot be read.
    pub(crate) fn rotated(
        self,
        rotation: &Rotation,
        rotated_at: PgTimestamp,
    ) -> Result<Session, StoreError> {
        let id = rotation.session.as_uuid();
        let name = RowName { table: "sessions", id };
        let previous = PreviousToken {
            hash: rotation.presented.hash,
            rotated_at: name.time("rotated_at", rotated_at)?,
            replays: 0,
        };
        let tokens = Tokens {
            current: rotation.successor.clone(),
            previous: Some(previous),
            last_used_at: rotation.now,
            end: None,
        };
        self.session(&name, rotation.session, rotation.user, tokens)
    }

    fn session(
        self,
        name: &RowName<'_>,
        id: SessionId,
        user: UserId,
        tokens: Tokens,
    ) -> Result<Session, StoreError> {
        let serde_json::Value::Object(extra) = self.extra_claims else {
            return Err(name.corrupt("extra_claims"));
        };
        let grant = AccessGrant {
            roles: name.roles("roles", self.roles)?,
            auth_time: name.time("auth_time", self.auth_time)?,
            acr: self.acr,
            amr: name.texts("amr", self.amr)?,
            extra: extra.into_iter().map(|(name, value)| (name, from_json(value))).collect(),
        };
        let identity_epoch = self.identity_epoch.map(|epoch| name.number("identity_epoch", epoch));
        Ok(Session {
            id,
            user,
            epochs: SessionEpochs {
                user: name.number("user_epoch", self.user_epoch)?,
                identity: identity_epoch.transpose()?,
                restore: name.number("restore_epoch", self.restore_epoch)?,
            },
            provider: ProviderId::new(self.provider),
            identity: ExternalIdentity { issuer: self.issuer, subject: self.subject },
            upstream_sid: self.upstream_sid,
            claimed_roles: name.roles("claimed_roles", self.claimed_roles)?,
            refresh: tokens.current,
            previous: tokens.previous,
            absolute_expires_at: name.time("absolute_expires_at", self.absolute_expires_at)?,
            grant,
            client: ClientInfo { user_agent: self.user_agent, ip_prefix: self.ip_prefix },
            created_at: name.time("created_at", self.created_at)?,
            last_used_at: tokens.last_used_at,
            end: tokens.end,
        })
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let name = RowName { table: "sessions", id: &row.id };
        let tokens = row.tokens(&name)?;
        row.lasting.session(
            &name,
            SessionId::from_uuid(row.id),
            UserId::from_uuid(row.user_id),
            tokens,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_columns_in_their_order() {
        let select = sessions::table.select(LastingRow::as_select());
        let text = diesel::debug_query::<Pg, _>(&select).to_string();
        let named = text.replace("\"sessions\".", "").replace('"', "");
        assert!(named.starts_with(concat!("SELECT ", lasting_columns!(), " FROM")), "{named}");
    }
}
