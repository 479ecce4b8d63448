//! A session: one row from sign-in to its end, whatever is refreshed in between.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ClaimValue, ExternalIdentity, KeyId, ProviderId, Role, SessionId, Timestamp, UserId};
use crate::TokenHash;

/// What a session's access tokens say besides time and identifiers; kept with
/// the session so that a refresh re-issues the same.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessGrant {
    /// Sorted, without duplicates, never empty.
    pub roles: Vec<Role>,
    /// When the person authenticated.
    pub auth_time: Timestamp,
    /// Authentication context class reference.
    pub acr: Option<String>,
    /// Authentication methods references.
    pub amr: Vec<String>,
    /// The configured extra claims, by the name they have in our token.
    pub extra: BTreeMap<String, ClaimValue>,
}

/// The caller, as far as a session remembers it. Both are bounded and cleaned before they get here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The user agent, at most 256 bytes.
    pub user_agent: Option<String>,
    /// The network the caller came from: an IPv4 /24 or an IPv6 /48, never the full address.
    pub ip_prefix: Option<String>,
}

/// The refresh token that is current, as a generation: from this, the session id,
/// and the user id, the same token can be minted again byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshState {
    /// Counts up by one with each rotation, from 0.
    pub generation: u64,
    /// SHA-256 of the current token.
    pub hash: TokenHash,
    /// The key that signed it.
    pub key_id: KeyId,
    /// The `iat` of the current token.
    pub issued_at: Timestamp,
    /// Its `exp`: the idle limit, never past the session's absolute limit.
    pub expires_at: Timestamp,
}

impl RefreshState {
    /// When a token issued at `now` expires: after the idle limit, but never past the absolute limit.
    pub fn expiry(now: Timestamp, idle: Duration, absolute: Timestamp) -> Timestamp {
        (now + idle).min(absolute)
    }
}

/// The epochs of its user and its identity when a session was opened. Where one has been raised
/// since, the session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionEpochs {
    /// The user's [`session_epoch`](super::User::session_epoch).
    pub user: u64,
    /// The identity's epoch; `None` for a session that outlives the unlinking of its identity,
    /// because it asked for the unlinking.
    pub identity: Option<u64>,
}

/// A session about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// The `sid` of its tokens.
    pub id: SessionId,
    /// The user it belongs to, who exists.
    pub user: UserId,
    /// The epochs that were read before the sign-in was decided.
    pub epochs: SessionEpochs,
    /// The provider the person signed in with.
    pub provider: ProviderId,
    /// Who the person is there.
    pub identity: ExternalIdentity,
    /// The session at the provider, which it may end: the `sid` of the ID token, if it has one; at
    /// most 255 bytes (OIDC Back-Channel Logout §2.1).
    pub upstream_sid: Option<String>,
    /// The roles that the role rules gave for the provider's claims, without those from elsewhere; so
    /// that the roles can be decided again without the claims. Sorted.
    pub claimed_roles: Vec<Role>,
    /// The first refresh token.
    pub refresh: RefreshState,
    /// Fixed at sign-in: nothing of this session works after it.
    pub absolute_expires_at: Timestamp,
    /// What its access tokens say.
    pub grant: AccessGrant,
    /// Who asked for it.
    pub client: ClientInfo,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// The `sid` of its tokens.
    pub id: SessionId,
    /// The user it belongs to.
    pub user: UserId,
    /// The epochs of the user and the identity when it was opened.
    pub epochs: SessionEpochs,
    /// The provider the person signed in with.
    pub provider: ProviderId,
    /// The person's identity at the provider.
    pub identity: ExternalIdentity,
    /// The session at the provider, which the provider may end; `None` if the provider named none.
    pub upstream_sid: Option<String>,
    /// The roles that the role rules gave for the provider's claims. Sorted.
    pub claimed_roles: Vec<Role>,
    /// The current refresh token.
    pub refresh: RefreshState,
    /// The refresh token before it; `None` until the first rotation.
    pub previous: Option<PreviousToken>,
    /// Fixed at sign-in: nothing of this session works after it.
    pub absolute_expires_at: Timestamp,
    /// What its access tokens say.
    pub grant: AccessGrant,
    /// Who asked for it.
    pub client: ClientInfo,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was opened or last rotated.
    pub last_used_at: Timestamp,
    /// When and why it ended; `None` while it lives or has run out unnoticed.
    pub end: Option<SessionEnd>,
}

impl Session {
    /// Whether its tokens work at this moment.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.end.is_none() && now < self.refresh.expires_at
    }
}

/// The refresh token that the current one took the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousToken {
    /// SHA-256 of the whole previous token.
    pub hash: TokenHash,
    /// When it was superseded.
    pub rotated_at: Timestamp,
    /// How often it has been answered since.
    pub replays: u16,
}

/// The end of a session before, or at, its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnd {
    /// Since when nothing of it works.
    pub at: Timestamp,
    /// The reason of the end.
    pub reason: RevokeReason,
}

/// Why a session ended. The names are stored, counted and told: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevokeReason {
    /// The user signed out, here or everywhere.
    Logout,
    /// A refresh token was used that had been superseded: somebody else has it.
    Reuse,
    /// An operator ended it.
    Admin,
    /// The user was disabled.
    UserDisabled,
    /// It was not used for as long as it may idle.
    ExpiredIdle,
    /// It reached its absolute limit.
    ExpiredAbsolute,
    /// The provider ended it (OIDC Back-Channel Logout).
    ProviderLogout,
    /// The provider was asked again and refused.
    ProviderRefused,
    /// The session's epoch is older than its user's or its identity's, or the stored reason is one
    /// that this version does not know.
    Other,
}

impl RevokeReason {
    /// All reasons, in no particular order.
    pub const ALL: [Self; 9] = [
        Self::Logout,
        Self::Reuse,
        Self::Admin,
        Self::UserDisabled,
        Self::ExpiredIdle,
        Self::ExpiredAbsolute,
        Self::ProviderLogout,
        Self::ProviderRefused,
        Self::Other,
    ];

    /// The name it is stored and counted under.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Reuse => "reuse",
            Self::Admin => "admin",
            Self::UserDisabled => "user_disabled",
            Self::ExpiredIdle => "expired_idle",
            Self::ExpiredAbsolute => "expired_absolute",
            Self::ProviderLogout => "provider_logout",
            Self::ProviderRefused => "provider_refused",
            Self::Other => "other",
        }
    }

    /// The reason of this name; [`Other`](Self::Other) for a name that this version does not know:
    /// a session that somebody has ended is never read as a live one.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|reason| reason.name() == name).unwrap_or(Self::Other)
    }
}

/// The mark of something that counts once: an ID token that was posted directly, a login that was
/// begun here, a provider's logout token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SingleUse {
    /// SHA-256 of what it is.
    pub hash: TokenHash,
    /// When it expires by itself, so that the mark can go.
    pub expires_at: Timestamp,
}

/// A provider's refresh token, encrypted; good for nothing without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedToken(pub String);

/// A session and what belongs to its sign-in, stored as one atomic step.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOpening {
    /// The session to be stored.
    pub session: NewSession,
    /// The mark of the sign-in, where the sign-in counts once by itself.
    pub single_use: Option<SingleUse>,
    /// The provider's refresh token, where the operator has the provider asked again. The provider
    /// counts as asked when the session is created.
    pub upstream: Option<SealedToken>,
    /// The record by which a repetition of the request is recognised, where the client sent an
    /// `Idempotency-Key`.
    pub idempotency: Option<IdempotencyRecord>,
}

/// A request that carries an `Idempotency-Key`: the same key with the same body is the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// SHA-256 of the key.
    pub key: TokenHash,
    /// SHA-256 of the request's body.
    pub body: TokenHash,
}

/// A request that has opened a session, for as long as it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The request that the record is about.
    pub request: IdempotencyKey,
    /// From when on it is forgotten.
    pub expires_at: Timestamp,
}
