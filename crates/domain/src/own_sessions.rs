//! The use case: callers who show a token see, and end, their own sessions.

use std::sync::Arc;

use crate::model::{
    Actor, AuditEvent, AuditKind, Profile, ProfileClaims, RevokeReason, Session, SessionId,
    Timestamp, UserId,
};
use crate::ports::{AuditLog, Clock, EndOutcome, Metrics, TokenVerifier, VerifiedAccess};
use crate::sessions::FoundSession;
use crate::{AuthError, PresentedToken, Sessions};

/// How many sessions are listed at most.
const LISTED: u32 = 200;

/// The token by which a caller proves that a session is theirs.
#[derive(Debug)]
pub enum SessionProof {
    /// An access token of the session; it may have expired.
    Access(PresentedToken),
    /// A refresh token of the session; it may be superseded.
    Refresh(PresentedToken),
}

/// The use cases of callers who list and end their own sessions.
pub struct OwnSessions {
    /// The stores of sessions and of their users.
    pub sessions: Sessions,
    /// Verifies access and refresh tokens of ours.
    pub verifier: Arc<dyn TokenVerifier>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The counters and timers of events.
    pub metrics: Arc<dyn Metrics>,
    /// Where ended sessions are noted.
    pub audit: Arc<dyn AuditLog>,
    /// The claims of a profile that are shown.
    pub profile: ProfileClaims,
}

impl OwnSessions {
    /// Who calls: the token is genuine and has not expired, and its session lives.
    ///
    /// # Errors
    /// [`AuthError::InvalidAccessToken`], [`AuthError::SessionRevoked`], or that it cannot be told.
    pub async fn caller(&self, token: &PresentedToken) -> Result<VerifiedAccess, AuthError> {
        Ok(self.found_caller(token).await?.0)
    }

    /// Who calls, and what is kept of them.
    ///
    /// # Errors
    /// As [`caller`](Self::caller).
    pub async fn me(&self, token: &PresentedToken) -> Result<(VerifiedAccess, Profile), AuthError> {
        let (access, found) = self.found_caller(token).await?;
        let profile = found.person.map(|person| person.user.profile).unwrap_or_default();
        Ok((access, self.profile.shown(profile)))
    }

    async fn found_caller(
        &self,
        token: &PresentedToken,
    ) -> Result<(VerifiedAccess, FoundSession), AuthError> {
        let access = self.verify_access(token).await?;
        let now = self.now();
        if access.expires_at <= now {
            return Err(AuthError::InvalidAccessToken("it has expired".into()));
        }
        match self.sessions.find(access.session).await? {
            Some(found) if found.session.user == access.subject => {
                found.require_usable()?;
                Ok((access, found))
            }
            _ => Err(AuthError::InvalidAccessToken("there is no such session".into())),
        }
    }

    /// Ends the session a token belongs to; it may have expired. What has ended before stays as it is.
    ///
    /// # Errors
    /// That the token is not one of ours, or that the store cannot say; nothing has ended then.
    pub async fn log_out(&self, proof: &SessionProof) -> Result<(UserId, SessionId), AuthError> {
        let (user, session) = self.owner(proof).await?;
        self.end_one(session, user, AuditKind::Logout, Actor::User).await?;
        Ok((user, session))
    }

    /// Ends the session of a browser in which a new one, `by`, takes its place; its access token may have
    /// expired.
    ///
    /// # Errors
    /// As [`log_out`](Self::log_out).
    pub async fn replace(&self, former: &PresentedToken, by: SessionId) -> Result<(), AuthError> {
        let access = self.verify_access(former).await?;
        if access.session != by {
            self.end_one(access.session, access.subject, AuditKind::Logout, Actor::User).await?;
        }
        Ok(())
    }

    /// The user and the session that a token belongs to; it may have expired.
    ///
    /// # Errors
    /// That the token is not one of ours.
    pub(crate) async fn owner(
        &self,
        proof: &SessionProof,
    ) -> Result<(UserId, SessionId), AuthError> {
        match proof {
            SessionProof::Access(token) => {
                let access = self.verify_access(token).await?;
                Ok((access.subject, access.session))
            }
            SessionProof::Refresh(token) => {
                let refresh = self.verifier.verify_refresh(token).await;
                let refresh =
                    refresh.map_err(|error| error.into_auth(AuthError::InvalidRefreshToken))?;
                Ok((refresh.subject, refresh.session))
            }
        }
    }

    /// Ends all sessions of the caller; how many.
    ///
    /// # Errors
    /// As [`caller`](Self::caller).
    pub async fn log_out_everywhere(
        &self,
        token: &PresentedToken,
    ) -> Result<(VerifiedAccess, u64), AuthError> {
        let caller = self.caller(token).await?;
        let reason = RevokeReason::Logout;
        let ended = self.sessions.end_all(caller.subject, reason, self.now()).await?;
        self.metrics.sessions_revoked(reason, ended);
        let event = AuditEvent::new(AuditKind::LogoutAll, self.now(), Actor::User);
        let event = event.of_user(caller.subject).of_session(caller.session);
        self.audit.record(event.with("sessions_ended", ended));
        Ok((caller, ended))
    }

    /// Ends the caller's other sessions, as far as [`list`](Self::list) has them; how many.
    ///
    /// # Errors
    /// As [`caller`](Self::caller), or that the store fails; some may have ended then.
    pub async fn log_out_elsewhere(
        &self,
        token: &PresentedToken,
    ) -> Result<(VerifiedAccess, u64), AuthError> {
        let (caller, sessions) = self.list(token).await?;
        let mut ended = 0;
        for session in sessions.iter().filter(|session| session.id != caller.session) {
            let (id, user) = (session.id, caller.subject);
            let outcome = self.end_one(id, user, AuditKind::SessionEnded, Actor::User).await?;
            ended += u64::from(outcome == EndOutcome::Ended);
        }
        Ok((caller, ended))
    }

    /// The caller's live sessions, the last used first.
    ///
    /// # Errors
    /// As [`caller`](Self::caller).
    pub async fn list(
        &self,
        token: &PresentedToken,
    ) -> Result<(VerifiedAccess, Vec<Session>), AuthError> {
        let caller = self.caller(token).await?;
        let sessions = self.sessions.list(caller.subject, self.now(), LISTED).await?;
        Ok((caller, sessions))
    }

    /// Ends one session of the caller, this one or another.
    ///
    /// # Errors
    /// As [`caller`](Self::caller), and [`AuthError::NoSuchSession`] if the caller has none of this id.
    pub async fn end(
        &self,
        token: &PresentedToken,
        session: SessionId,
    ) -> Result<VerifiedAccess, AuthError> {
        let caller = self.caller(token).await?;
        match self.end_one(session, caller.subject, AuditKind::SessionEnded, Actor::User).await? {
            EndOutcome::Unknown => Err(AuthError::NoSuchSession),
            EndOutcome::Ended | EndOutcome::EndedBefore => Ok(caller),
        }
    }

    pub(crate) async fn end_one(
        &self,
        session: SessionId,
        user: UserId,
        kind: AuditKind,
        actor: Actor,
    ) -> Result<EndOutcome, AuthError> {
        let reason = match actor {
            Actor::Client(_) => RevokeReason::RevokedByClient,
            _ => RevokeReason::Logout,
        };
        let outcome = self.sessions.repo.end_session(session, user, reason, self.now()).await?;
        if outcome == EndOutcome::Ended {
            self.metrics.sessions_revoked(reason, 1);
            let event = AuditEvent::new(kind, self.now(), actor);
            self.audit.record(event.of_user(user).of_session(session));
        }
        Ok(outcome)
    }

    async fn verify_access(&self, token: &PresentedToken) -> Result<VerifiedAccess, AuthError> {
        let verified = self.verifier.verify_access(token).await;
        verified.map_err(|error| error.into_auth(AuthError::InvalidAccessToken))
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}
