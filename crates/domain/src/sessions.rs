//! Sessions together with the people they belong to, wherever each of the two is kept.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    ExternalIdentity, IdempotencyKey, NewIdentity, Person, RevokeReason, Rotation, Session,
    SessionEnd, SessionId, SessionOpening, SingleUse, Standing, Timestamp, UserId, Verdict,
};
use crate::ports::{
    IdempotencyRecords, LinkOutcome, LogoutOrder, OnceMarks, OpenOutcome, ProviderLogoutOutcome,
    RefreshTokenRepo, SessionChange, SessionOwner, StoreError, UnlinkOutcome, UserDirectory,
};
use crate::{AuthError, TokenHash};

/// The stores of sessions and of users, used as one.
///
/// Where both are kept in one engine, each write checks the person in the same atomic step. Where
/// they are not, a write to a session is followed by a second look at the person, before anything is
/// answered: whoever was disabled, or whose sessions were ended, in the meantime gets no tokens. Either
/// way a session is judged by the person's session epochs, so that ending all sessions of a user is
/// one write to the user; ending them one by one only tidies up.
#[derive(Clone)]
pub struct Sessions {
    /// The store of sessions.
    pub repo: Arc<dyn RefreshTokenRepo>,
    /// The store of users and their identities.
    pub users: Arc<dyn UserDirectory>,
    /// The marks of what counts once, kept with the sessions.
    pub marks: Arc<dyn OnceMarks>,
    /// The requests that may be repeated, kept with the sessions.
    pub idempotency: Arc<dyn IdempotencyRecords>,
}

/// How often a session is loaded and judged again because it changed in the meantime.
const ATTEMPTS: usize = 64;

/// The result of a rotation. A boxed session is as it is after it.
#[derive(Debug, Clone, PartialEq)]
pub enum RotateOutcome {
    /// The successor is the current token now, durably.
    Rotated(Box<Session>),
    /// The presented token is the previous one: answer with the current one, signed again.
    Replayed(Box<Session>),
    /// The successor does not fit this session; nothing was written. Sign one that does, and call
    /// again.
    Remint(Box<Session>),
    /// The presented token was superseded; the session has been revoked, durably, by this call.
    Reused,
    /// The user is disabled; the user's sessions have been ended, durably, by this call.
    UserDisabled {
        /// How many live sessions were ended.
        ended: u64,
    },
    /// The session had ended before; nothing was written.
    Revoked(RevokeReason),
    /// The session is past a limit; nothing was written.
    Expired,
    /// The token is newer than its session, which goes on from it; the successor is the current token now, durably.
    Followed(Box<Session>),
    /// The token is newer than its session: an old backup of the store was restored. Nothing was
    /// written.
    Ahead,
    /// There is no such session of this user; nothing was written.
    Unknown,
}

/// A session with what is needed to judge it.
pub(crate) struct FoundSession {
    pub(crate) session: Session,
    pub(crate) person: Option<Person>,
    pub(crate) standing: Standing,
    pub(crate) rotated_ago: Duration,
}

impl FoundSession {
    /// # Errors
    /// The refusal, if the session has ended or its person may not use it. Its limits are not judged.
    pub(crate) fn require_usable(&self) -> Result<(), AuthError> {
        match (self.session.end, self.standing) {
            (Some(end), _) => Err(AuthError::SessionRevoked(end.reason)),
            (None, Standing::Disabled) => Err(AuthError::user_disabled()),
            (None, Standing::Ended) => Err(AuthError::SessionRevoked(RevokeReason::Other)),
            (None, Standing::Restored) => Err(AuthError::SessionRevoked(RevokeReason::Restored)),
            (None, Standing::Good) => Ok(()),
        }
    }
}

impl Sessions {
    /// The session of this id, with its person: one round trip where both are in one engine.
    pub(crate) async fn find(&self, id: SessionId) -> Result<Option<FoundSession>, StoreError> {
        let Some(loaded) = self.repo.load(id).await? else { return Ok(None) };
        let session = loaded.session;
        let person = match loaded.owner {
            SessionOwner::Loaded(person) => person,
            SessionOwner::KeptElsewhere => {
                self.users.find_person(session.user, &session.identity).await?
            }
        };
        let standing = Person::standing(person.as_ref(), &session);
        let rotated_ago = loaded.rotated_ago;
        Ok(Some(FoundSession { session, person, standing, rotated_ago }))
    }

    /// The request that used an idempotency key, and the session it opened.
    pub(crate) async fn find_opening(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, FoundSession)>, StoreError> {
        let Some((request, id)) = self.idempotency.find(key, now).await? else { return Ok(None) };
        Ok(self.find(id).await?.map(|found| (request, found)))
    }

    /// Stores a session, unless its user has changed since the sign-in read the user.
    ///
    /// # Errors
    /// [`StoreError`]; whether anything was written is unknown then.
    pub async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        let outcome = self.repo.open(opening).await?;
        if outcome != OpenOutcome::Opened || self.repo.shares_engine_with_users() {
            return Ok(outcome);
        }
        let new = &opening.session;
        let person = self.users.find_person(new.user, &new.identity).await?;
        if person.is_some_and(|person| person.admits(new)) {
            if let Some(profile) = &opening.profile {
                // One that cannot be kept now is kept at the next sign-in.
                self.users.keep_profile(new.user, profile).await.ok();
            }
            return Ok(OpenOutcome::Opened);
        }
        self.repo.end_session(new.id, new.user, RevokeReason::Other, new.created_at).await?;
        Ok(OpenOutcome::PersonChanged)
    }

    /// Exchanges the presented refresh token for the rotation's successor, or says why not.
    ///
    /// Nearly always one conditional update puts the successor in its place. Where that matches
    /// nothing, or users are kept in another engine, the session is loaded and judged
    /// ([`Rotation::judge`]), and what was judged is written only if the session is still the same; otherwise it is loaded and judged again. So a write that
    /// reaches the store late, when its caller has given up and gone on with a newer token, changes
    /// nothing.
    ///
    /// `waited` is asked for the time since the token was presented: the replay window is measured
    /// from then, not from when the store found time for it.
    ///
    /// `prepare` makes the answer for the session as it will be, before anything is written; where it
    /// fails, nothing is. It is not called where the one update suffices: the caller has prepared that
    /// answer, or says by the `grant_limit` of which sessions it can be made afterwards for certain
    /// ([`RefreshTokenRepo::exchange`]).
    ///
    /// # Errors
    /// [`StoreError`]; whether anything was written is unknown then, and the same call can be made
    /// again. And the error of `prepare`.
    pub async fn rotate<E: From<StoreError>>(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
        waited: impl Fn() -> Duration + Send + Sync,
        mut prepare: impl FnMut(&Session) -> Result<(), E> + Send,
    ) -> Result<RotateOutcome, E> {
        // With users elsewhere, a session is not rotated before its person was found: a users' store that
        // is down must not leave the client with a token that has been exchanged.
        if self.repo.shares_engine_with_users()
            && let Some(session) = self.repo.exchange(rotation, grant_limit).await?
        {
            return Ok(RotateOutcome::Rotated(session));
        }
        for _ in 0..ATTEMPTS {
            let Some(found) = self.find(rotation.session).await? else {
                return Ok(RotateOutcome::Unknown);
            };
            let seen = &found.session;
            let rotated_ago = found.rotated_ago.saturating_sub(waited());
            let written = match rotation.judge(seen, found.standing, rotated_ago) {
                Verdict::Rotate => {
                    prepare(&rotation.rotated(seen))?;
                    let written = self.repo.exchange(rotation, None).await?;
                    self.if_in_good_standing(written).await?.map(RotateOutcome::Rotated)
                }
                Verdict::Supersede => {
                    prepare(&rotation.rotated(seen))?;
                    let written = self.repo.replace(seen, SessionChange::Rotate(rotation)).await?;
                    self.if_in_good_standing(written).await?.map(RotateOutcome::Rotated)
                }
                Verdict::Follow => {
                    prepare(&rotation.rotated(seen))?;
                    let written = self.repo.replace(seen, SessionChange::Rotate(rotation)).await?;
                    self.if_in_good_standing(written).await?.map(RotateOutcome::Followed)
                }
                Verdict::Replay if rotation.replay.counted => {
                    prepare(seen)?;
                    let counted = self.repo.replace(seen, SessionChange::CountReplay).await?;
                    counted.map(RotateOutcome::Replayed)
                }
                Verdict::Replay => {
                    prepare(seen)?;
                    Some(RotateOutcome::Replayed(Box::new(found.session)))
                }
                Verdict::Remint => Some(RotateOutcome::Remint(Box::new(found.session))),
                Verdict::Reuse => {
                    let end = SessionEnd { at: rotation.now, reason: RevokeReason::Reuse };
                    let ended = self.repo.replace(seen, SessionChange::End(end)).await?;
                    ended.map(|_| RotateOutcome::Reused)
                }
                Verdict::UserDisabled => {
                    let reason = RevokeReason::UserDisabled;
                    let ended = self.end_all(rotation.user, reason, rotation.now).await?;
                    Some(RotateOutcome::UserDisabled { ended })
                }
                Verdict::Revoked(reason) => Some(RotateOutcome::Revoked(reason)),
                Verdict::Expired => Some(RotateOutcome::Expired),
                Verdict::Ahead => Some(RotateOutcome::Ahead),
                Verdict::Unknown => Some(RotateOutcome::Unknown),
            };
            if let Some(outcome) = written {
                return Ok(outcome);
            }
        }
        Err(StoreError::Unavailable("the session changes faster than it can be read".into()).into())
    }

    /// A session that was just written, if its user may still use it.
    async fn if_in_good_standing(
        &self,
        written: Option<Box<Session>>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let Some(session) = written else { return Ok(None) };
        if self.repo.shares_engine_with_users() {
            return Ok(Some(session));
        }
        let person = self.users.find_person(session.user, &session.identity).await?;
        let is_good = Person::standing(person.as_ref(), &session) == Standing::Good;
        Ok(is_good.then_some(session))
    }

    /// The live sessions of a user, the last used first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`]; whether anything was written is unknown then.
    pub async fn list(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let mut sessions = self.repo.live_sessions(user, now, limit).await?;
        if !self.repo.shares_engine_with_users() {
            let mut kept = Vec::with_capacity(sessions.len());
            for session in sessions {
                let person = self.users.find_person(user, &session.identity).await?;
                if Person::standing(person.as_ref(), &session) == Standing::Good {
                    kept.push(session);
                }
            }
            sessions = kept;
        }
        Ok(sessions)
    }

    /// Ends all sessions of a user; returns how many were live.
    ///
    /// # Errors
    /// [`StoreError`]; whether anything was written is unknown then.
    pub async fn end_all(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let ended = self.users.end_user_sessions(user, reason, now).await?;
        // The raised epoch has ended them all: if this fails, only the count is incomplete.
        Ok(ended + self.end_rows(user, None, None, reason, now).await.unwrap_or(0))
    }

    /// Links an identity to a user, once by the mark of the sign-in that proved it.
    ///
    /// # Errors
    /// [`StoreError`]; whether anything was written is unknown then.
    pub async fn link(
        &self,
        user: UserId,
        identity: &NewIdentity,
        mark: Option<SingleUse>,
    ) -> Result<LinkOutcome, StoreError> {
        if self.repo.shares_engine_with_users() {
            return self.users.link_identity(user, identity, mark).await;
        }
        // The marks are in the sessions' engine. A login is used up by the attempt: what must not
        // happen is that it counts twice.
        if let Some(mark) = mark
            && !self.marks.claim(&mark).await?
        {
            return Ok(LinkOutcome::Replayed);
        }
        self.users.link_identity(user, identity, None).await
    }

    /// Unlinks an identity and ends the sessions that were opened with it, all but `keep`.
    ///
    /// # Errors
    /// [`StoreError`]; whether the identity is still linked is unknown then. With users elsewhere, it may
    /// be unlinked while `keep` has ended with the others.
    pub async fn unlink(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<UnlinkOutcome, StoreError> {
        let outcome = self.users.unlink_identity(user, identity, keep, reason, now).await?;
        let UnlinkOutcome::Unlinked { ended } = outcome else { return Ok(outcome) };
        let more = self.end_rows(user, Some(identity), Some(keep), reason, now).await?;
        Ok(UnlinkOutcome::Unlinked { ended: ended + more })
    }

    /// Carries out a provider's logout order, once.
    ///
    /// # Errors
    /// [`StoreError`]; whether anything was written is unknown then.
    pub async fn end_by_provider(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        if !self.repo.shares_engine_with_users()
            && let (Some(subject), None) = (&order.subject, &order.session)
        {
            if self.marks.is_claimed(order.id).await? {
                return Ok(ProviderLogoutOutcome::Replayed);
            }
            let identity =
                ExternalIdentity { issuer: order.issuer.clone(), subject: subject.clone() };
            let reason = RevokeReason::ProviderLogout;
            self.users.end_identity_sessions(&identity, reason, now).await?;
        }
        self.repo.end_provider_sessions(order, now).await
    }

    /// Ends the rows of sessions that a raised epoch has ended already, where they are in another
    /// engine; returns how many were live.
    pub(crate) async fn end_rows(
        &self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if self.repo.shares_engine_with_users() {
            return Ok(0);
        }
        self.repo.end_sessions(user, identity, keep, SessionEnd { at: now, reason }).await
    }
}
