//! What happens to a stored session, for stores that hold sessions as values and not as rows of SQL.

use std::time::Duration;

use super::{
    AccessGrant, DeletedSession, ExternalIdentity, NewSession, PreviousToken, RevokeReason, Role,
    Rotation, Session, SessionEnd, SessionId, Standing, Timestamp, UserId, Verdict,
};
use crate::ports::{EndOutcome, LogoutOrder, SessionChange, Swept};

impl From<NewSession> for Session {
    /// The session as it is stored when it is opened.
    fn from(new: NewSession) -> Self {
        Self {
            id: new.id,
            user: new.user,
            epochs: new.epochs,
            provider: new.provider,
            identity: new.identity,
            upstream_sid: new.upstream_sid,
            claimed_roles: new.claimed_roles,
            refresh: new.refresh,
            previous: None,
            absolute_expires_at: new.absolute_expires_at,
            grant: new.grant,
            client: new.client,
            created_at: new.created_at,
            last_used_at: new.created_at,
            end: None,
        }
    }
}

impl Session {
    /// Makes the rotation's successor the current token, and the presented token the previous one. Of
    /// a current token that is superseded without having been used, nothing is kept.
    pub fn rotate(&mut self, rotation: &Rotation) {
        self.previous = Some(PreviousToken {
            hash: rotation.presented.hash,
            rotated_at: rotation.now,
            replays: 0,
        });
        self.refresh = rotation.successor.clone();
        self.last_used_at = rotation.now;
        if let Some(roles) = &rotation.roles {
            self.grant.roles.clone_from(roles);
        }
    }

    /// Makes the rotation's successor the current token where
    /// [`RefreshTokenRepo::exchange`](crate::ports::RefreshTokenRepo::exchange) does; `true` if it did.
    /// Where users are kept in another engine, `standing` is good: the use case has judged it.
    pub fn exchange(
        &mut self,
        rotation: &Rotation,
        standing: Standing,
        grant_limit: Option<u32>,
    ) -> bool {
        let exchanges = self.refresh.hash == rotation.presented.hash
            && grant_limit.is_none_or(|limit| self.grant.approximate_len() <= limit as usize)
            && rotation.judge(self, standing, Duration::ZERO) == Verdict::Rotate;
        if exchanges {
            self.rotate(rotation);
        }
        exchanges
    }

    /// Makes a change that was decided about this session.
    pub fn change(&mut self, change: SessionChange<'_>) {
        match change {
            SessionChange::Rotate(rotation) => self.rotate(rotation),
            SessionChange::CountReplay => {
                if let Some(previous) = &mut self.previous {
                    previous.replays += 1;
                }
            }
            SessionChange::End(end) => self.end = Some(end),
        }
    }

    /// Whether nothing has changed that a rotation is judged by: the current and the previous token,
    /// its count of replays, and that the session has not ended.
    pub fn is_unchanged_since(&self, seen: &Self) -> bool {
        let previous = |session: &Self| session.previous.map(|token| (token.hash, token.replays));
        self.refresh == seen.refresh && previous(self) == previous(seen) && self.end.is_none()
    }

    /// The end of a session that has reached a limit by `now` and was not ended before.
    pub fn expiry(&self, now: Timestamp) -> Option<SessionEnd> {
        let at = self.refresh.expires_at;
        let reason = if at == self.absolute_expires_at {
            RevokeReason::ExpiredAbsolute
        } else {
            RevokeReason::ExpiredIdle
        };
        (self.end.is_none() && at <= now).then_some(SessionEnd { at, reason })
    }

    /// Ends a session that has reached a limit by `now`, and counts it; whether the session has ended, by
    /// this or before.
    pub fn expire(&mut self, now: Timestamp, swept: &mut Swept) -> bool {
        if let Some(end) = self.expiry(now) {
            match end.reason {
                RevokeReason::ExpiredAbsolute => swept.expired_absolute += 1,
                _ => swept.expired_idle += 1,
            }
            self.end = Some(end);
        }
        self.end.is_some()
    }

    /// Ends the session for [`RefreshTokenRepo::end_session`](crate::ports::RefreshTokenRepo::end_session).
    pub fn end_for(&mut self, user: UserId, end: SessionEnd) -> EndOutcome {
        if self.user != user {
            return EndOutcome::Unknown;
        }
        if self.end.is_some() {
            return EndOutcome::EndedBefore;
        }
        self.end = Some(end);
        EndOutcome::Ended
    }

    /// The time since the last rotation, by the clock of a store that says `now`; zero if there was none.
    pub fn rotated_ago(&self, now: Timestamp) -> Duration {
        let rotated_at = self.previous.map_or(now, |previous| previous.rotated_at);
        let seconds = now.as_unix() - rotated_at.as_unix();
        Duration::from_secs(seconds.try_into().unwrap_or(0))
    }

    /// What is kept of the session when its user is deleted at `now`; `None` if it ended so long ago that
    /// no access token of it can be valid.
    pub fn deleted(&self, now: Timestamp, forget_after: Timestamp) -> Option<DeletedSession> {
        let ended_at = self.end.map_or(self.refresh.expires_at, |end| end.at).min(now);
        let may_have_tokens =
            now.as_unix() - ended_at.as_unix() <= forget_after.as_unix() - now.as_unix();
        let end = self.end.or_else(|| self.expiry(now));
        let reason = end.map_or(RevokeReason::UserDeleted, |end| end.reason);
        may_have_tokens.then_some(DeletedSession { ended_at, reason, forget_after })
    }

    /// Whether the session is one of this user, opened with this identity if one is given.
    pub fn is_of(&self, user: UserId, identity: Option<&ExternalIdentity>) -> bool {
        self.user == user && identity.is_none_or(|identity| *identity == self.identity)
    }

    /// Ends the session for [`RefreshTokenRepo::end_sessions`](crate::ports::RefreshTokenRepo), if it is
    /// one of those and live; `true` if it does. The session `keep` goes on, without its identity epoch
    /// if its identity is the one that is unlinked.
    pub fn end_as_one_of(
        &mut self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> bool {
        if !self.is_of(user, identity) {
            return false;
        }
        if Some(self.id) == keep {
            if identity.is_some() {
                self.epochs.identity = None;
            }
            return false;
        }
        let is_live = self.is_live(end.at);
        if is_live {
            self.end = Some(end);
        }
        is_live
    }
}

impl AccessGrant {
    /// About how many bytes the roles, `acr`, `amr` and extra claims take as JSON.
    pub fn approximate_len(&self) -> usize {
        let texts = self.roles.iter().map(Role::as_str).chain(self.amr.iter().map(String::as_str));
        let texts = texts.chain(self.acr.as_deref()).map(|text| text.len() + 3);
        let extra = self.extra.iter().map(|(name, value)| name.len() + value.approximate_len() + 4);
        texts.chain(extra).sum()
    }
}

impl LogoutOrder {
    /// Whether the order is about this session, ended or not
    /// ([`RefreshTokenRepo::end_provider_sessions`](crate::ports::RefreshTokenRepo)).
    pub fn names(&self, session: &Session) -> bool {
        let is_session = || session.upstream_sid.is_some() && session.upstream_sid == self.session;
        let is_subject = |subject: &String| *subject == session.identity.subject;
        session.identity.issuer == self.issuer
            && match (&self.subject, &self.session) {
                // An order that names nobody would be about everybody at the provider.
                (None, None) => false,
                (Some(subject), None) => is_subject(subject),
                (None, Some(_)) => is_session(),
                (Some(subject), Some(_)) => {
                    // Which session at the provider it is, nobody may have said.
                    is_subject(subject) && (session.upstream_sid.is_none() || is_session())
                }
            }
    }
}
