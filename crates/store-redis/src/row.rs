//! A session's hash, and the session that it is.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, ExternalIdentity, KeptAccess, KeptUpstream, KeyId, PreviousToken,
    ProviderId, RefreshState, RevokeReason, Role, SealedToken, Session, SessionEnd, SessionEpochs,
    SessionId, Timestamp, UpstreamTokens, UserId,
};
use mintgate_domain::ports::StoreError;
use serde_json::{Value, json};

use crate::error::corrupt;
use crate::json;

/// The fields of the hash that changes name.
pub(crate) mod field {
    pub(crate) const USER: &str = "user";
    pub(crate) const IDENTITY_EPOCH: &str = "identity_epoch";
    pub(crate) const CLAIMED_ROLES: &str = "claimed_roles";
    pub(crate) const GENERATION: &str = "gen";
    pub(crate) const HASH: &str = "cur_hash";
    pub(crate) const KEY: &str = "cur_kid";
    pub(crate) const ISSUED: &str = "cur_iat";
    pub(crate) const EXPIRES: &str = "cur_exp";
    pub(crate) const PREVIOUS: &str = "prev_hash";
    pub(crate) const REPLAYS: &str = "prev_replays";
    pub(crate) const ROTATED: &str = "rotated_at";
    /// When the last rotation was, in microseconds of the server's clock.
    pub(crate) const MOVED: &str = "moved";
    pub(crate) const ABSOLUTE: &str = "absolute";
    pub(crate) const ROLES: &str = "roles";
    /// About how many bytes the claims of the grant take, without the roles; which a rotation is limited by.
    pub(crate) const GRANT_LEN: &str = "grant_len";
    /// About how many bytes the roles take.
    pub(crate) const ROLES_LEN: &str = "roles_len";
    pub(crate) const USED: &str = "last_used";
    pub(crate) const ENDED: &str = "ended_at";
    pub(crate) const REASON: &str = "end_reason";
    /// Present while the end of the session is not in the log of revocations.
    pub(crate) const UNLOGGED: &str = "unlogged";
    pub(crate) const UPSTREAM: &str = "upstream";
    pub(crate) const IDEMPOTENCY: &str = "idem";
}

/// A session as it is stored, with what is stored beside it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) session: Session,
    /// The time since the last rotation, by the server's clock.
    pub(crate) rotated_ago: Duration,
    /// Whether the end is not in the log of revocations yet.
    pub(crate) is_unlogged: bool,
    /// The provider's tokens, as they are stored.
    pub(crate) upstream: Option<String>,
    /// The idempotency key that the session was opened with.
    pub(crate) idempotency: Option<TokenHash>,
}

impl Stored {
    /// The provider's tokens.
    pub(crate) fn kept_upstream(&self) -> Result<Option<KeptUpstream>, StoreError> {
        let read = |text: &String| {
            upstream_from(text).ok_or_else(|| corrupt("the upstream tokens of a session"))
        };
        self.upstream.as_ref().map(read).transpose()
    }
}

/// The fields of a session that is opened.
pub(crate) fn fields(session: &Session) -> Vec<(&'static str, String)> {
    let Session { refresh, grant, client, .. } = session;
    let texts = |roles: &[Role]| json::roles(roles);
    let mut fields = vec![
        (field::USER, session.user.to_string()),
        ("user_epoch", session.epochs.user.to_string()),
        ("restore_epoch", session.epochs.restore.to_string()),
        ("provider", session.provider.to_string()),
        ("issuer", session.identity.issuer.clone()),
        ("subject", session.identity.subject.clone()),
        (field::CLAIMED_ROLES, texts(&session.claimed_roles)),
        (field::GENERATION, refresh.generation.to_string()),
        (field::HASH, refresh.hash.to_hex()),
        (field::KEY, refresh.key_id.to_string()),
        (field::ISSUED, unix(refresh.issued_at)),
        (field::EXPIRES, unix(refresh.expires_at)),
        (field::ABSOLUTE, unix(session.absolute_expires_at)),
        (field::ROLES, texts(&grant.roles)),
        ("auth_time", unix(grant.auth_time)),
        ("amr", json::texts(grant.amr.iter().map(String::as_str))),
        ("extra", json::claims(&grant.extra)),
        (field::GRANT_LEN, (grant.approximate_len() - roles_len(&grant.roles)).to_string()),
        (field::ROLES_LEN, roles_len(&grant.roles).to_string()),
        ("created", unix(session.created_at)),
        (field::USED, unix(session.last_used_at)),
    ];
    let optional = [
        (field::IDENTITY_EPOCH, session.epochs.identity.map(|epoch| epoch.to_string())),
        ("upstream_sid", session.upstream_sid.clone()),
        ("acr", grant.acr.clone()),
        ("user_agent", client.user_agent.clone()),
        ("ip_prefix", client.ip_prefix.clone()),
    ];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields
}

/// About how many bytes roles take, as [`AccessGrant::approximate_len`] counts them.
pub(crate) fn roles_len(roles: &[Role]) -> usize {
    roles.iter().map(|role| role.as_str().len() + 3).sum()
}

/// Seconds since 1970 as text.
pub(crate) fn unix(at: Timestamp) -> String {
    at.as_unix().to_string()
}

/// Reads a session; `now` is the time of the server, in microseconds.
pub(crate) fn stored(
    id: SessionId,
    hash: HashMap<String, String>,
    now: u64,
) -> Result<Stored, StoreError> {
    let mut row = Row(hash);
    let previous = match row.optional(field::PREVIOUS) {
        None => None,
        Some(hash) => Some(PreviousToken {
            hash: token_hash(&hash).ok_or_else(|| unreadable(field::PREVIOUS))?,
            rotated_at: row.time(field::ROTATED)?,
            replays: row.parsed(field::REPLAYS)?,
        }),
    };
    let end = match row.optional(field::REASON) {
        None if row.0.contains_key(field::ENDED) => return Err(unreadable(field::REASON)),
        None => None,
        Some(name) => {
            Some(SessionEnd { at: row.time(field::ENDED)?, reason: RevokeReason::from_name(&name) })
        }
    };
    let moved: Option<u64> = match row.optional(field::MOVED) {
        None => None,
        Some(moved) => Some(moved.parse().map_err(|_| unreadable(field::MOVED))?),
    };
    let session = Session {
        id,
        user: UserId::parse(&row.text(field::USER)?).ok_or_else(|| unreadable(field::USER))?,
        epochs: SessionEpochs {
            user: row.parsed("user_epoch")?,
            identity: match row.optional(field::IDENTITY_EPOCH) {
                None => None,
                Some(text) => Some(text.parse().map_err(|_| unreadable(field::IDENTITY_EPOCH))?),
            },
            restore: row.parsed("restore_epoch")?,
        },
        provider: ProviderId::new(row.text("provider")?),
        identity: ExternalIdentity { issuer: row.text("issuer")?, subject: row.text("subject")? },
        upstream_sid: row.optional("upstream_sid"),
        claimed_roles: row.roles(field::CLAIMED_ROLES)?,
        refresh: RefreshState {
            generation: row.parsed(field::GENERATION)?,
            hash: token_hash(&row.text(field::HASH)?).ok_or_else(|| unreadable(field::HASH))?,
            key_id: KeyId::new(row.text(field::KEY)?),
            issued_at: row.time(field::ISSUED)?,
            expires_at: row.time(field::EXPIRES)?,
        },
        previous,
        absolute_expires_at: row.time(field::ABSOLUTE)?,
        grant: AccessGrant {
            roles: row.roles(field::ROLES)?,
            auth_time: row.time("auth_time")?,
            acr: row.optional("acr"),
            amr: json::read_texts(&row.text("amr")?).ok_or_else(|| unreadable("amr"))?,
            extra: json::read_claims(&row.text("extra")?).ok_or_else(|| unreadable("extra"))?,
        },
        client: ClientInfo {
            user_agent: row.optional("user_agent"),
            ip_prefix: row.optional("ip_prefix"),
        },
        created_at: row.time("created")?,
        last_used_at: row.time(field::USED)?,
        end,
    };
    Ok(Stored {
        rotated_ago: Duration::from_micros(moved.map_or(0, |moved| now.saturating_sub(moved))),
        is_unlogged: row.0.contains_key(field::UNLOGGED),
        upstream: row.optional(field::UPSTREAM),
        idempotency: match row.optional(field::IDEMPOTENCY) {
            None => None,
            Some(text) => Some(token_hash(&text).ok_or_else(|| unreadable(field::IDEMPOTENCY))?),
        },
        session,
    })
}

/// Reads a hash of 64 hexadecimal digits.
pub(crate) fn token_hash(text: &str) -> Option<TokenHash> {
    TokenHash::from_hex(text)
}

fn unreadable(field: &str) -> StoreError {
    corrupt(&format!("the field {field} of a session"))
}

struct Row(HashMap<String, String>);

impl Row {
    fn optional(&mut self, field: &str) -> Option<String> {
        self.0.remove(field)
    }

    fn text(&mut self, field: &str) -> Result<String, StoreError> {
        self.optional(field).ok_or_else(|| unreadable(field))
    }

    fn parsed<T: FromStr>(&mut self, field: &str) -> Result<T, StoreError> {
        self.text(field)?.parse().map_err(|_| unreadable(field))
    }

    fn time(&mut self, field: &str) -> Result<Timestamp, StoreError> {
        self.parsed(field).map(Timestamp::from_unix)
    }

    fn roles(&mut self, field: &str) -> Result<Vec<Role>, StoreError> {
        let texts = json::read_texts(&self.text(field)?).ok_or_else(|| unreadable(field))?;
        Ok(texts.into_iter().map(Role::new).collect())
    }
}

/// The provider's tokens as text.
pub(crate) fn upstream_text(kept: &KeptUpstream) -> String {
    let UpstreamTokens { refresh, id, access } = &kept.tokens;
    let sealed = |token: &Option<SealedToken>| token.as_ref().map(|token| token.0.clone());
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_unix);
    let access = access.as_ref().map(|access| {
        json!({
            "sealed": access.sealed.0,
            "scope": access.scope,
            "exp": seconds(access.expires_at),
            "due": seconds(access.due_at),
        })
    });
    json!({
        "refresh": sealed(refresh),
        "id": sealed(id),
        "access": access,
        "asked": kept.asked_at.as_unix(),
        "claimed": seconds(kept.claimed_until),
    })
    .to_string()
}

fn upstream_from(text: &str) -> Option<KeptUpstream> {
    let value: Value = serde_json::from_str(text).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let time = |value: &Value| value.as_i64().map(Timestamp::from_unix);
    let access = match &value["access"] {
        Value::Null => None,
        access => Some(KeptAccess {
            sealed: SealedToken(text(&access["sealed"])?),
            scope: text(&access["scope"]),
            expires_at: time(&access["exp"]),
            due_at: time(&access["due"]),
        }),
    };
    let tokens = UpstreamTokens {
        refresh: text(&value["refresh"]).map(SealedToken),
        id: text(&value["id"]).map(SealedToken),
        access,
    };
    Some(KeptUpstream {
        tokens,
        asked_at: time(&value["asked"])?,
        claimed_until: time(&value["claimed"]),
    })
}

/// The comparisons and writes of a change, as the arguments of its script.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change(Vec<String>);

impl Change {
    fn step(mut self, step: &str, field: &str, value: impl Display) -> Self {
        self.0.extend([step.to_owned(), field.to_owned(), value.to_string()]);
        self
    }

    /// Only if the field has this value; without one, only if it is not there.
    pub(crate) fn is(self, field: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.step("is", field, value),
            None => self.step("none", field, ""),
        }
    }

    /// Only if the field is not there.
    pub(crate) fn none(self, field: &str) -> Self {
        self.step("none", field, "")
    }

    /// Only if the number in the field is larger.
    pub(crate) fn over(self, field: &str, value: impl Display) -> Self {
        self.step("over", field, value)
    }

    /// Only if the claims of the grant take no more bytes, about.
    pub(crate) fn fits(self, limit: u32) -> Self {
        self.step("fits", field::GRANT_LEN, limit)
    }

    /// From here on a comparison that fails writes too, so that replicas can be waited for.
    pub(crate) fn touch(self) -> Self {
        self.step("touch", "", "")
    }

    pub(crate) fn set(self, field: &str, value: impl Display) -> Self {
        self.step("set", field, value)
    }

    pub(crate) fn delete(self, field: &str) -> Self {
        self.step("del", field, "")
    }

    pub(crate) fn add_one(self, field: &str) -> Self {
        self.step("add", field, 1)
    }

    /// Sets the field to the time of the server, in microseconds.
    pub(crate) fn time(self, field: &str) -> Self {
        self.step("time", field, "")
    }

    /// Keeps the session for so long from now.
    pub(crate) fn keep(self, span: Duration) -> Self {
        self.step("keep", "", span.as_secs().max(1))
    }

    /// Only if nothing has changed that a rotation is judged by.
    pub(crate) fn unchanged_since(seen: &Session) -> Self {
        let previous = seen.previous;
        Self::default()
            .is(field::GENERATION, Some(seen.refresh.generation))
            .is(field::HASH, Some(seen.refresh.hash.to_hex()))
            .is(field::KEY, Some(&seen.refresh.key_id))
            .is(field::ISSUED, Some(unix(seen.refresh.issued_at)))
            .is(field::EXPIRES, Some(unix(seen.refresh.expires_at)))
            .is(field::PREVIOUS, previous.map(|token| token.hash.to_hex()))
            .is(field::REPLAYS, previous.map(|token| token.replays))
            .none(field::ENDED)
    }

    /// Ends the session; the log of revocations is to be told.
    pub(crate) fn end(self, end: SessionEnd) -> Self {
        self.set(field::ENDED, unix(end.at)).set(field::REASON, end.reason.name())
    }

    /// The arguments of the script.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.0
    }
}
