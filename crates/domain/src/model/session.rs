//! A session: one row from sign-in to its end, whatever is refreshed in between.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    ClaimValue, ExternalIdentity, KeyId, Profile, ProviderId, Role, SessionId, Timestamp, UserId,
};
use crate::TokenHash;

/// The claims of a session's access tokens other than times and identifiers; kept with the session
/// so that a refresh repeats them.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessGrant {
    /// The user's roles: sorted, without duplicates, never empty.
    pub roles: Vec<Role>,
    /// The time at which the person authenticated, `auth_time` (OIDC Core §2).
    pub auth_time: Timestamp,
    /// The provider's authentication context class reference, `acr` (OIDC Core §2), if it gave one.
    pub acr: Option<String>,
    /// The provider's authentication methods references, `amr` (OIDC Core §2); empty if it gave
    /// none.
    pub amr: Vec<String>,
    /// The configured extra claims, by the name they have in our token.
    pub extra: BTreeMap<String, ClaimValue>,
}

/// The user agent and the network of the caller who opened a session, bounded and without control
/// characters.
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
    /// The token's number within its session, `gen`: 0 at first, one more after each rotation.
    pub generation: u64,
    /// The SHA-256 hash of the whole current token.
    pub hash: TokenHash,
    /// The `kid` of the key that signed the current token.
    pub key_id: KeyId,
    /// The `iat` claim of the current token.
    pub issued_at: Timestamp,
    /// The `exp` claim of the current token: the idle limit, never past the session's absolute
    /// limit.
    pub expires_at: Timestamp,
}

impl RefreshState {
    /// When a token issued at `now` expires: after the idle limit, but never past the absolute limit.
    pub fn expiry(now: Timestamp, idle: Duration, absolute: Timestamp) -> Timestamp {
        (now + idle).min(absolute)
    }
}

/// The epochs of its user, its identity and the store when a session was opened. Where one has been
/// raised since, the session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionEpochs {
    /// The user's [`session_epoch`](super::User::session_epoch) when the session was opened.
    pub user: u64,
    /// The identity's epoch; `None` for a session that outlives the unlinking of its identity,
    /// because it asked for the unlinking.
    pub identity: Option<u64>,
    /// The store's [`restore_epoch`](super::Person::restore_epoch) when the session was opened.
    pub restore: u64,
}

/// A session about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// The session's id: the `sid` claim of its tokens.
    pub id: SessionId,
    /// The user that the session belongs to, who exists.
    pub user: UserId,
    /// The epochs that were read before the sign-in was decided.
    pub epochs: SessionEpochs,
    /// The provider of the sign-in.
    pub provider: ProviderId,
    /// The user's identity at the provider.
    pub identity: ExternalIdentity,
    /// The session at the provider, which the provider may end: the `sid` of the ID token, if it
    /// has one; at most 255 bytes (OIDC Back-Channel Logout §2.1).
    pub upstream_sid: Option<String>,
    /// The roles that the role rules gave for the provider's claims, without those from elsewhere; so
    /// that the roles can be decided again without the claims. Sorted.
    pub claimed_roles: Vec<Role>,
    /// The state of the first refresh token.
    pub refresh: RefreshState,
    /// The absolute limit, fixed at the sign-in: nothing of the session works after it.
    pub absolute_expires_at: Timestamp,
    /// The claims of the session's access tokens.
    pub grant: AccessGrant,
    /// The user agent and the network of the request that opened the session.
    pub client: ClientInfo,
    /// The time at which the session was opened.
    pub created_at: Timestamp,
}

/// A session as a store keeps it: one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// The session's id: the `sid` claim of its tokens.
    pub id: SessionId,
    /// The user that the session belongs to.
    pub user: UserId,
    /// The epochs of the user, the identity and the store when it was opened.
    pub epochs: SessionEpochs,
    /// The provider of the sign-in.
    pub provider: ProviderId,
    /// The user's identity at the provider.
    pub identity: ExternalIdentity,
    /// The session at the provider, which the provider may end; `None` if the provider named none.
    pub upstream_sid: Option<String>,
    /// The roles that the role rules gave for the provider's claims. Sorted.
    pub claimed_roles: Vec<Role>,
    /// The state of the current refresh token.
    pub refresh: RefreshState,
    /// The refresh token before the current one; `None` until the first rotation.
    pub previous: Option<PreviousToken>,
    /// The absolute limit, fixed at the sign-in: nothing of the session works after it.
    pub absolute_expires_at: Timestamp,
    /// The claims of the session's access tokens.
    pub grant: AccessGrant,
    /// The user agent and the network of the request that opened the session.
    pub client: ClientInfo,
    /// The time at which the session was opened.
    pub created_at: Timestamp,
    /// The time of the last rotation, or of the opening if there was none.
    pub last_used_at: Timestamp,
    /// When and why the session ended; `None` while it is live, or past a limit and not swept yet.
    pub end: Option<SessionEnd>,
}

impl Session {
    /// Whether the session has neither ended nor reached a limit at `now`. Its person is not
    /// judged.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.end.is_none() && now < self.refresh.expires_at
    }
}

/// The refresh token that the current one took the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousToken {
    /// The SHA-256 hash of the whole previous token.
    pub hash: TokenHash,
    /// The time at which the current token took its place.
    pub rotated_at: Timestamp,
    /// How many counted replays of the previous token have been answered since the rotation.
    pub replays: u16,
}

/// The time and the reason of a session's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnd {
    /// The time since which nothing of the session works.
    pub at: Timestamp,
    /// The reason of the end.
    pub reason: RevokeReason,
}

/// Why a session ended. The names are stored, counted and told: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevokeReason {
    /// The user signed out of this session or of all.
    Logout,
    /// A superseded refresh token was used: somebody else may have it.
    Reuse,
    /// A back end revoked a token of the session (RFC 7009).
    RevokedByClient,
    /// An operator ended the session.
    Admin,
    /// An operator disabled the user.
    UserDisabled,
    /// The session reached its idle limit: it was not refreshed for too long.
    ExpiredIdle,
    /// The session reached its absolute limit.
    ExpiredAbsolute,
    /// The provider ended the session (OIDC Back-Channel Logout).
    ProviderLogout,
    /// The provider was asked again and refused.
    ProviderRefused,
    /// An operator deleted the user.
    UserDeleted,
    /// A backup of the store was restored after the session was opened.
    Restored,
    /// The session's epoch is older than its user's or its identity's, or the stored reason is one
    /// that this version does not know.
    Other,
}

impl RevokeReason {
    /// Every reason, in no particular order.
    pub const ALL: [Self; 12] = [
        Self::Logout,
        Self::RevokedByClient,
        Self::Reuse,
        Self::Admin,
        Self::UserDisabled,
        Self::ExpiredIdle,
        Self::ExpiredAbsolute,
        Self::ProviderLogout,
        Self::ProviderRefused,
        Self::UserDeleted,
        Self::Restored,
        Self::Other,
    ];

    /// The name that the reason is stored and counted under.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::RevokedByClient => "revoked_by_client",
            Self::Reuse => "reuse",
            Self::Admin => "admin",
            Self::UserDisabled => "user_disabled",
            Self::ExpiredIdle => "expired_idle",
            Self::ExpiredAbsolute => "expired_absolute",
            Self::ProviderLogout => "provider_logout",
            Self::ProviderRefused => "provider_refused",
            Self::UserDeleted => "user_deleted",
            Self::Restored => "restored",
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
    /// The SHA-256 hash of what counts once.
    pub hash: TokenHash,
    /// The time at which what counts once expires by itself, so that the mark can be deleted.
    pub expires_at: Timestamp,
}

/// A token of a provider, encrypted under a key that the store does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedToken(pub String);

/// The tokens of a provider that are kept beside a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTokens {
    /// The refresh token, where the operator has the provider asked again.
    pub refresh: Option<SealedToken>,
    /// The newest ID token, where the operator has it kept as a hint for signing out at the provider
    /// (OIDC RP-Initiated Logout §2).
    pub id: Option<SealedToken>,
    /// The newest access token, where the operator has it kept for the back ends of apps.
    pub access: Option<KeptAccess>,
}

/// An access token of a provider that is kept, with what the provider says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAccess {
    /// The token, encrypted.
    pub sealed: SealedToken,
    /// The scopes of the token, as the provider wrote them, if it did.
    pub scope: Option<String>,
    /// When the token expires; `None` if the provider does not say.
    pub expires_at: Option<Timestamp>,
    /// From when on it is to be replaced, before it expires; `None` if the provider does not say when that
    /// is.
    pub due_at: Option<Timestamp>,
}

impl KeptAccess {
    /// Whether the token is to be replaced.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// Whether the token has expired.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl UpstreamTokens {
    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A session and what belongs to its sign-in, stored as one atomic step.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOpening {
    /// The session to be stored.
    pub session: NewSession,
    /// The mark of the sign-in, where the sign-in counts once by itself.
    pub single_use: Option<SingleUse>,
    /// The tokens of the provider that are kept. The provider counts as asked when the session is
    /// created.
    pub upstream: UpstreamTokens,
    /// The profile to store from now on; `None` if it has not changed.
    pub profile: Option<Profile>,
    /// The record by which a repetition of the request is recognised, where the client sent an
    /// `Idempotency-Key`.
    pub idempotency: Option<IdempotencyRecord>,
}

/// A request that carries an `Idempotency-Key`: the same key with the same body is the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The SHA-256 hash of the `Idempotency-Key` header.
    pub key: TokenHash,
    /// The SHA-256 hash of the request's body.
    pub body: TokenHash,
}

/// A request that has opened a session, for as long as it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The request that the record is about.
    pub request: IdempotencyKey,
    /// The time from which on the request can no longer be repeated.
    pub expires_at: Timestamp,
}
