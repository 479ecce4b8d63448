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
    /// Its `iat`.
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

/// A session about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// The `sid` of its tokens.
    pub id: SessionId,
    /// The provider the person signed in with.
    pub provider: ProviderId,
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

/// A user to be created together with a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The identifier the user will have.
    pub id: UserId,
    /// The identity the user is known by.
    pub identity: ExternalIdentity,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOwner {
    /// A user that [`UserDirectory`](crate::ports::UserDirectory) found.
    Existing(UserId),
    /// Somebody who signs in for the first time.
    New(NewUser),
}

impl SessionOwner {
    /// The user's identifier, existing or to be.
    pub fn user_id(&self) -> UserId {
        match self {
            Self::Existing(id) => *id,
            Self::New(user) => user.id,
        }
    }
}

/// An ID token that was posted directly and must never open a second session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumedIdToken {
    /// SHA-256 of its signed part.
    pub hash: TokenHash,
    /// When the token expires by itself, so the record can go.
    pub expires_at: Timestamp,
}

/// Everything a sign-in writes, as one atomic step.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOpening {
    /// Whose session.
    pub owner: SessionOwner,
    /// The session.
    pub session: NewSession,
    /// The single-use mark, where the ID token came from the client.
    pub consumed: Option<ConsumedIdToken>,
}
