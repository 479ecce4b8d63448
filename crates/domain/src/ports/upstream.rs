//! The providers' tokens that are kept beside sessions, where the operator wants that.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Role, SealedToken, SessionId, Timestamp, UpstreamTokens};
use crate::{Cause, SecretText};

/// A provider's token could not be encrypted or decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a provider's token could not be encrypted or decrypted")]
pub struct SealError(#[source] pub Cause);

/// The kind of a provider's token that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTokenKind {
    /// A refresh token, by which the provider is asked again.
    Refresh,
    /// An ID token, by which the provider recognises whom it signs out.
    Id,
    /// An access token, for the back ends of apps.
    Access,
}

/// What is due about a session's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamDue {
    /// The provider was last asked at this time or before.
    Recheck(Timestamp),
    /// The access token is to be replaced at this time or before, or there is none.
    Access(Timestamp),
}

/// A refresh token that one caller alone may show to the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedUpstream {
    /// The refresh token, encrypted.
    pub refresh: SealedToken,
    /// The time at which the provider was last asked.
    pub asked_at: Timestamp,
}

/// A token that is sealed under another key than the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBefore {
    /// The session that the token belongs to.
    pub session: SessionId,
    /// The kind of the token.
    pub kind: UpstreamTokenKind,
    /// The token as it is stored.
    pub sealed: SealedToken,
}

/// A page of tokens that are sealed under other keys than the current one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealedPage {
    /// The tokens, in the order of their sessions' ids.
    pub tokens: Vec<SealedBefore>,
    /// The session after which the next page begins; `None` if this was the last page.
    pub next: Option<SessionId>,
}

/// Encrypts the providers' tokens, each for its session and as its kind: moved to another session, or
/// in the place of a token of another kind, it MUST NOT open.
pub trait TokenSeal: Send + Sync {
    /// Encrypts a token with authenticated encryption; the same token gives another text each time.
    ///
    /// # Errors
    /// If the token is too long to be kept, or the cryptography fails.
    fn seal(
        &self,
        session: SessionId,
        kind: UpstreamTokenKind,
        token: &SecretText,
    ) -> Result<SealedToken, SealError>;

    /// The characters with which everything begins that is sealed under the current key, and nothing that
    /// is sealed under another one.
    fn mark(&self) -> String;

    /// Decrypts what was sealed for this session and as this kind.
    ///
    /// # Errors
    /// If it was sealed otherwise, or under another key.
    fn open(
        &self,
        session: SessionId,
        kind: UpstreamTokenKind,
        sealed: &SealedToken,
    ) -> Result<SecretText, SealError>;
}

/// A provider's answer when it was asked again about a session, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRenewal {
    /// The provider's new tokens: each takes the place of the one before, which stays where the
    /// provider gave none.
    pub tokens: UpstreamTokens,
    /// The roles that follow from the provider's claims now; `None` if it sent no claims.
    pub claimed_roles: Option<Vec<Role>>,
    /// The time at which the provider was asked.
    pub at: Timestamp,
}

/// Keeps the sealed tokens of sessions, opened together with them
/// ([`SessionOpening::upstream`](crate::model::SessionOpening)), gone with them.
#[async_trait]
pub trait UpstreamTokenRepo: Send + Sync {
    /// The tokens that are kept for a session; none if the session is not there. A session that has
    /// ended may still have them, until a sweep.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn load_upstream(&self, session: SessionId) -> Result<UpstreamTokens, StoreError>;

    /// The refresh token of a session of which something is due, for one caller alone: who gets it has it
    /// until `lease`, and nobody else does unless that passes. `None` if there is none, or that is not due,
    /// or another is asking.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn claim_upstream(
        &self,
        session: SessionId,
        due: UpstreamDue,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<ClaimedUpstream>, StoreError>;

    /// Ends the claim of a refresh token that was not shown to the provider, if it is still that of the
    /// session.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn release_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError>;

    /// Deletes the refresh token that the provider has refused, and the access token with it, durably, if
    /// the refresh token is still that of the session; ends the claim.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn forget_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError>;

    /// Notes what came of it, durably, and ends the claim: the new tokens, the session's
    /// [`claimed_roles`](crate::model::Session::claimed_roles), and when the provider was asked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError>;

    /// Looks at the tokens of the `limit` sessions behind `after` that have any, in the order of their ids,
    /// and returns those that do not begin with `mark`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn sealed_before(
        &self,
        mark: &str,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<SealedPage, StoreError>;

    /// Replaces a token by the same one, sealed anew, if it is still as it is here; a refresh token only if
    /// nobody has claimed it at `now`, who would no longer recognise it. `false` if it was not replaced.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn reseal_upstream(
        &self,
        token: &SealedBefore,
        sealed: &SealedToken,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
}
