//! What happens to a stored session, for stores that hold sessions as values and not as rows of SQL.

use super::{
    ExternalIdentity, NewSession, PreviousToken, RevokeReason, Rotation, Session, SessionEnd,
    SessionId, Timestamp, UserId,
};
use crate::ports::{LogoutOrder, SessionChange};

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
