//! Where sessions, and with them refresh tokens, are kept.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    ExternalIdentity, Person, RevokeReason, Rotation, Session, SessionEnd, SessionId,
    SessionOpening, Timestamp, UserId,
};
use crate::ports::LogoutOrder;

/// The result of storing a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenOutcome {
    /// The session and everything that belongs to its sign-in are stored, durably.
    Opened,
    /// The sign-in has been used before; nothing was stored.
    Replayed,
    /// A request with the same idempotency key has opened a session, and the key has not expired;
    /// nothing was stored. [`IdempotencyRecords::find`](super::IdempotencyRecords::find) says which.
    IdempotencyKeyTaken,
    /// The user is disabled, or the user or the identity has a newer session epoch, or is gone;
    /// nothing was stored. Only a store that shares its engine with the users returns this.
    PersonChanged,
}

/// The result of ending a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOutcome {
    /// The session has been ended, durably, by this call.
    Ended,
    /// The session had ended before; time and reason stay as they were.
    EndedBefore,
    /// There is no such session of this user; nothing was written.
    Unknown,
}

/// The result of a provider's logout order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderLogoutOutcome {
    /// This many live sessions have been ended, durably, by this call.
    Ended(u64),
    /// The order has been carried out before; nothing was written.
    Replayed,
}

/// The result of a step of [`RefreshTokenRepo::end_restored`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedStep {
    /// How many live sessions this step has ended.
    pub ended: u64,
    /// The session after which the next step begins; `None` if this was the last step.
    pub next: Option<SessionId>,
}

/// A session as [`RefreshTokenRepo::load`] found it, with what is needed to judge it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedSession {
    /// The session, ended or not.
    pub session: Session,
    /// The time since the session's last rotation, by the store's own clock; zero if it was never
    /// rotated.
    pub rotated_ago: Duration,
    /// The person that the session belongs to, as far as this store knows.
    pub owner: SessionOwner,
}

/// The person a loaded session belongs to, as far as the session's store knows.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionOwner {
    /// The user and the session's identity, read in the same step; `None` if the user does not exist.
    Loaded(Option<Person>),
    /// Users are kept in another engine: ask
    /// [`UserDirectory::find_person`](super::UserDirectory::find_person).
    KeptElsewhere,
}

/// A change of a session, made only if the session is still as it was when it was loaded.
#[derive(Debug, Clone, Copy)]
pub enum SessionChange<'a> {
    /// The rotation's successor becomes the current token, and the presented token the previous one.
    Rotate(&'a Rotation),
    /// The previous token was presented again: its count of replays goes up by one.
    CountReplay,
    /// The session ends, at this time and for this reason.
    End(SessionEnd),
}

/// The store of sessions: one row a session, which holds its current refresh token as a hash.
///
/// Writes to one session MUST be serialised by the store: once a call that ends a session has
/// returned, no rotation of it succeeds. Repeating any call after an error whose outcome is unknown
/// MUST be harmless. The rules of rotation are not the store's: [`Rotation::judge`] decides, and the
/// store writes what was decided if nothing has changed since.
///
/// A store that keeps the users too ([`shares_engine_with_users`](Self::shares_engine_with_users))
/// MUST, in the same atomic step as [`open`](Self::open), [`exchange`](Self::exchange) and
/// [`SessionChange::Rotate`], require that the user is not disabled and that the session's user
/// epoch and restore epoch are current; `open` also requires the identity's epoch. With another store, the use cases ask
/// the [`UserDirectory`](super::UserDirectory) before a rotation, and again after each of these writes
/// and before they answer.
///
/// Every method returns [`StoreError::Unavailable`] when the outcome is unknown or the store cannot
/// be reached; never an outcome it is not sure of.
#[async_trait]
pub trait RefreshTokenRepo: Send + Sync {
    /// Whether the users are kept in the same engine, so that one atomic step can check both.
    fn shares_engine_with_users(&self) -> bool;

    /// Stores a new session together with its single-use mark, its idempotency record and the
    /// provider's refresh token: all or nothing, durable when it returns [`OpenOutcome::Opened`]. A store
    /// that shares its engine with the users keeps the person's profile too, if there is one.
    ///
    /// The store MUST decide races (unique indexes, conditional statements).
    async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError>;

    /// The session of this id, ended or not.
    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError>;

    /// Makes the rotation's successor the current token, if the presented token is the current one,
    /// the session is live, and the successor fits ([`Rotation::judge`] would say
    /// [`Verdict::Rotate`](crate::model::Verdict::Rotate)). Returns the session as it is then; `None`,
    /// with nothing written, in every other case.
    ///
    /// With a `grant_limit`, a session is left alone whose stored roles, `acr`, `amr` and extra claims
    /// take more bytes together, as the store writes them down. The caller does not know these claims
    /// yet, and knows that tokens of less fit. The store's way of writing MUST NOT take less than half
    /// the bytes that JSON takes.
    ///
    /// MUST be one conditional update by primary key that touches no indexed column.
    async fn exchange(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError>;

    /// Changes a session if its generation, its current and previous token, its count of replays and
    /// its being live are still as in `seen`. Returns the session as it is then; `None`, with nothing
    /// written, if anything has changed.
    async fn replace(
        &self,
        seen: &Session,
        change: SessionChange<'_>,
    ) -> Result<Option<Box<Session>>, StoreError>;

    /// The sessions of a user that are live at `now`, the last used first; at most `limit`.
    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError>;

    /// Ends one session of a user, unless it has ended before or belongs to somebody else.
    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError>;

    /// Ends the sessions, live at `now`, that a provider's order names, for
    /// [`RevokeReason::ProviderLogout`], and marks the order as used: all or nothing. The sessions of
    /// the subject are those opened with that identity; where the order names both subject and
    /// session, of those only the ones of that session at the provider, and the ones whose session at
    /// the provider is not known.
    ///
    /// A store that shares its engine with the users MUST raise the identity's session epoch in the
    /// same transaction, where the order names the subject alone.
    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError>;

    /// Looks at the `limit` sessions behind `after`, in the order of their ids, and ends those that are live
    /// at `end.at` and have another restore epoch than `epoch`. They have ended before, by the epoch
    /// that was raised; this marks their rows. MUST wait for a write to such a row that is under way.
    async fn end_restored(
        &self,
        epoch: u64,
        after: Option<SessionId>,
        limit: u32,
        end: SessionEnd,
    ) -> Result<EndedStep, StoreError>;

    /// Ends all sessions of a user, or only those opened with one identity, that are live at `now`;
    /// returns how many. The session `keep` goes on; if it was opened with that identity, it loses its
    /// identity epoch, so that the unlinked identity does not end it.
    ///
    /// Called where users are kept in another engine, after the epoch has been raised there. A store
    /// that shares its engine with the users is never asked, and keeps the default, which is an error.
    async fn end_sessions(
        &self,
        _user: UserId,
        _identity: Option<&ExternalIdentity>,
        _keep: Option<SessionId>,
        _end: SessionEnd,
    ) -> Result<u64, StoreError> {
        Err(StoreError::Unavailable("this store ends sessions together with their users".into()))
    }
}
