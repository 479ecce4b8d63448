//! The use case: a back end asks whether a token of ours is good, or has it revoked.

use std::sync::Arc;

use crate::clients::Client;
use crate::model::{Actor, AuditKind, Session, SessionId, Timestamp, UserId};
use crate::ports::{
    EndOutcome, IntrospectionResult, RevocationResult, VerifiedAccess, VerifiedRefresh, VerifyError,
};
use crate::{AuthError, OwnSessions, PresentedToken, RefreshSession};

/// The use case of back ends that ask about tokens of ours (RFC 7662) and revoke them (RFC 7009).
///
/// A client sees the access tokens for its own audience and, where it may, refresh tokens. What it does
/// not see is to it what does not exist.
pub struct Introspection {
    /// Verifies tokens, finds and ends their sessions.
    pub own_sessions: Arc<OwnSessions>,
    /// Knows which refresh tokens it would accept.
    pub refresh_session: Arc<RefreshSession>,
}

/// A token that is good at the moment, with its session.
#[derive(Debug)]
pub enum ActiveToken {
    /// An access token.
    Access(VerifiedAccess, Session),
    /// A refresh token.
    Refresh(VerifiedRefresh, Session),
}

impl ActiveToken {
    /// The session of the token.
    pub fn session(&self) -> &Session {
        match self {
            Self::Access(_, session) | Self::Refresh(_, session) => session,
        }
    }
}

/// A token that we have signed and the client sees; it may have expired.
enum Genuine {
    Access(VerifiedAccess),
    Refresh(VerifiedRefresh),
}

impl Introspection {
    /// The token, if it is good and the client sees it. Nothing tells the reasons why it is not apart:
    /// expired, superseded, not ours, for another audience, of a session that has ended, of a user who is
    /// disabled or deleted.
    ///
    /// # Errors
    /// If the store or the keys cannot say; the token may be good then.
    pub async fn introspect(
        &self,
        client: &Client,
        token: &PresentedToken,
    ) -> Result<Option<ActiveToken>, AuthError> {
        let active = self.active(client, token).await;
        self.own_sessions.metrics.introspection(match &active {
            Ok(Some(_)) => IntrospectionResult::Active,
            Ok(None) => IntrospectionResult::Inactive,
            Err(_) => IntrospectionResult::Failed,
        });
        active
    }

    /// Ends the session of a token that the client sees, durably; the token may have expired or been
    /// superseded. `None` if there is nothing to end.
    ///
    /// # Errors
    /// If the store or the keys cannot say; the session may go on then.
    pub async fn revoke(
        &self,
        client: &Client,
        token: &PresentedToken,
    ) -> Result<Option<(UserId, SessionId)>, AuthError> {
        let ended = self.end(client, token).await;
        self.own_sessions.metrics.token_revocation(match &ended {
            Ok(Some(_)) => RevocationResult::Ended,
            Ok(None) => RevocationResult::Nothing,
            Err(_) => RevocationResult::Failed,
        });
        ended
    }

    async fn active(
        &self,
        client: &Client,
        token: &PresentedToken,
    ) -> Result<Option<ActiveToken>, AuthError> {
        let now = Timestamp::from(self.own_sessions.clock.now());
        match self.genuine(client, token).await? {
            Some(Genuine::Access(access)) if access.expires_at > now => {
                let found = self.own_sessions.sessions.find(access.session).await?;
                let good = found.filter(|found| {
                    let session = &found.session;
                    let is_theirs = session.user == access.subject;
                    is_theirs && found.require_usable().is_ok() && session.is_live(now)
                });
                Ok(good.map(|found| ActiveToken::Access(access, found.session)))
            }
            Some(Genuine::Refresh(refresh)) => {
                let session = self.refresh_session.would_accept(token, &refresh).await?;
                Ok(session.map(|session| ActiveToken::Refresh(refresh, session)))
            }
            Some(Genuine::Access(_)) | None => Ok(None),
        }
    }

    async fn end(
        &self,
        client: &Client,
        token: &PresentedToken,
    ) -> Result<Option<(UserId, SessionId)>, AuthError> {
        let (user, session) = match self.genuine(client, token).await? {
            Some(Genuine::Access(access)) => (access.subject, access.session),
            Some(Genuine::Refresh(refresh)) => (refresh.subject, refresh.session),
            None => return Ok(None),
        };
        let (kind, actor) = (AuditKind::SessionEnded, Actor::Client(client.id.clone()));
        let outcome = self.own_sessions.end_one(session, user, kind, actor).await?;
        Ok((outcome == EndOutcome::Ended).then_some((user, session)))
    }

    /// Which kind of token it is follows from the token alone, whatever its holder takes it for.
    async fn genuine(
        &self,
        client: &Client,
        token: &PresentedToken,
    ) -> Result<Option<Genuine>, AuthError> {
        let verifier = &self.own_sessions.verifier;
        if let Some(access) = known(verifier.verify_access(token).await)? {
            let is_seen = client.sees(&access.audience);
            return Ok(is_seen.then_some(Genuine::Access(access)));
        }
        if !client.refresh_tokens {
            return Ok(None);
        }
        Ok(known(verifier.verify_refresh(token).await)?.map(Genuine::Refresh))
    }
}

/// The claims of a token; `None` if it is not ours.
///
/// # Errors
/// If that cannot be told.
fn known<T>(verified: Result<T, VerifyError>) -> Result<Option<T>, AuthError> {
    match verified {
        Ok(claims) => Ok(Some(claims)),
        Err(VerifyError::Refused(_)) => Ok(None),
        Err(error @ VerifyError::KeysUnavailable(_)) => {
            Err(error.into_auth(AuthError::InvalidAccessToken))
        }
    }
}
