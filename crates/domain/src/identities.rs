//! The use case: signed-in people say by which identities they are known.

use std::sync::Arc;

use crate::model::{
    Actor, AuditEvent, AuditKind, ExternalIdentity, LinkedIdentity, LoginPurpose, NewIdentity,
    RevokeReason, Timestamp,
};
use crate::ports::{AuditLog, Clock, LinkOutcome, Metrics, UnlinkOutcome, VerifiedAccess};
use crate::sign_in::{Credential, SignIn, SignInRequest};
use crate::{AuthError, FieldError, FieldRule, OwnSessions, PresentedToken, Sessions};

/// What callers do with their identities. Nothing is ever linked but by the user's own act: not by
/// an email address, nor by anything else a provider says (the user would be whoever says it next).
pub struct Identities {
    /// Identifies the caller by an access token.
    pub own_sessions: Arc<OwnSessions>,
    /// Proves the identity to be linked, by a sign-in at its provider.
    pub sign_in: Arc<SignIn>,
    /// The stores of users, their identities and their sessions.
    pub sessions: Sessions,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The counters and timers of events.
    pub metrics: Arc<dyn Metrics>,
    /// Where linked and unlinked identities are noted.
    pub audit: Arc<dyn AuditLog>,
}

impl Identities {
    /// The caller's identities, the oldest first.
    ///
    /// # Errors
    /// As [`OwnSessions::caller`].
    pub async fn list(
        &self,
        token: &PresentedToken,
    ) -> Result<(VerifiedAccess, Vec<LinkedIdentity>), AuthError> {
        let caller = self.own_sessions.caller(token).await?;
        let identities = self.sessions.users.identities(caller.subject).await?;
        Ok((caller, identities))
    }

    /// Links the identity of a fresh sign-in to the caller's user. Linking what is linked already
    /// changes nothing.
    ///
    /// The sign-in must be by code, and protected by a login begun here or by a code verifier: with
    /// neither, anybody could slip a code of their own in, and have their identity open this account. One that
    /// ends at our own callback must have been begun to link, and in the caller's session.
    ///
    /// # Errors
    /// As [`OwnSessions::caller`], as a sign-in, and [`AuthError::IdentityTaken`].
    pub async fn link(
        &self,
        token: &PresentedToken,
        request: &SignInRequest,
    ) -> Result<(VerifiedAccess, LinkedIdentity), AuthError> {
        let caller = self.own_sessions.caller(token).await?;
        let is_begun_for_this = match request.purpose {
            LoginPurpose::Link(session) => session == caller.session,
            LoginPurpose::SignIn => request.callback.is_none(),
        };
        if !is_begun_for_this {
            let text = "the login was begun in another session, or to sign in";
            return Err(AuthError::InvalidState(text.into()));
        }
        let provider = self.sign_in.provider_of(request)?;
        if let Credential::IdToken(_) = request.credential {
            let error = FieldError::new("idToken", FieldRule::NotToLink);
            return Err(AuthError::InvalidRequest(vec![error]));
        }
        let admitted = self.sign_in.admit(provider, request)?;
        if !admitted.is_bound_to_client() {
            let error = FieldError::new("codeVerifier", FieldRule::RequiredWithoutLogin);
            return Err(AuthError::InvalidRequest(vec![error]));
        }
        let proven = self.sign_in.prove(&admitted).await?;
        // The provider may have taken long, and the session may have ended meanwhile.
        self.own_sessions.caller(token).await?;
        let identity = NewIdentity {
            identity: proven.identity.identity,
            provider: provider.policy.id.clone(),
            now: self.now(),
        };
        let linked = self.sessions.link(caller.subject, &identity, proven.single_use);
        match linked.await? {
            outcome @ (LinkOutcome::Linked | LinkOutcome::LinkedBefore) => {
                if outcome == LinkOutcome::Linked {
                    self.note(AuditKind::IdentityLinked, &caller, &identity.identity, None);
                }
                let NewIdentity { identity, provider, now } = identity;
                Ok((caller, LinkedIdentity { identity, provider, linked_at: now }))
            }
            LinkOutcome::Taken => Err(AuthError::IdentityTaken),
            LinkOutcome::Replayed => Err(finished_before()),
            LinkOutcome::UserDisabled => Err(AuthError::user_disabled()),
        }
    }

    /// Takes an identity away from the caller's user, named by its
    /// [`short_name`](crate::model::ExternalIdentity::short_name), and ends the sessions that were
    /// signed in with it, except the one that asks.
    ///
    /// # Errors
    /// As [`OwnSessions::caller`], [`AuthError::NoSuchIdentity`], [`AuthError::LastIdentity`].
    pub async fn unlink(
        &self,
        token: &PresentedToken,
        name: u128,
    ) -> Result<VerifiedAccess, AuthError> {
        let (caller, identities) = self.list(token).await?;
        let named = identities.iter().find(|linked| linked.identity.short_name() == name);
        let identity = &named.ok_or(AuthError::NoSuchIdentity)?.identity;
        let (user, keep, reason) = (caller.subject, caller.session, RevokeReason::Logout);
        let unlinked = self.sessions.unlink(user, identity, keep, reason, self.now());
        match unlinked.await? {
            UnlinkOutcome::Unlinked { ended } => {
                self.metrics.sessions_revoked(reason, ended);
                self.note(AuditKind::IdentityUnlinked, &caller, identity, Some(ended));
                Ok(caller)
            }
            UnlinkOutcome::Last => Err(AuthError::LastIdentity),
            UnlinkOutcome::Unknown => Err(AuthError::NoSuchIdentity),
        }
    }

    fn note(
        &self,
        kind: AuditKind,
        caller: &VerifiedAccess,
        identity: &ExternalIdentity,
        ended: Option<u64>,
    ) {
        let event = AuditEvent::new(kind, self.now(), Actor::User)
            .of_user(caller.subject)
            .of_session(caller.session)
            .of_identity(identity);
        self.audit.record(match ended {
            None => event,
            Some(ended) => event.with("sessions_ended", ended),
        });
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

/// The refusal of a login that was finished before.
pub(crate) fn finished_before() -> AuthError {
    AuthError::InvalidState("the login has been finished before".into())
}
