//! Providers asked again with the refresh tokens that are kept: the one place that shows and replaces these.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::memory::Bounded;
use crate::model::{
    Actor, AuditEvent, AuditKind, KeptAccess, RevokeReason, Role, SealedToken, Session, SessionId,
    Timestamp, UpstreamTokens,
};
use crate::ports::{
    AuditLog, Background, ClaimedUpstream, EndOutcome, Metrics, ProviderAccess, ProviderError,
    RecheckResult, RefreshTokenRepo, UpstreamDue, UpstreamRenewal,
};
use crate::{AuthError, KeptTokens, ProviderRefreshToken, RegisteredProvider, RolePolicy};

/// How many providers' answers are kept that could not be stored.
const UNSTORED_MEMORY: usize = 10_000;

/// Asks providers again about sessions, with the refresh tokens they gave before. Whoever asks, a refresh or
/// an app's back end, on whichever replica: a refresh token is shown by one at a time, since many providers
/// take one that is shown twice for stolen.
pub struct Renewals {
    shared: Arc<Shared>,
    background: Arc<dyn Background>,
}

/// The ports that [`Renewals`] uses.
pub struct RenewalPorts {
    /// The store of the sessions, which end where the provider refuses.
    pub sessions: Arc<dyn RefreshTokenRepo>,
    /// The providers' tokens that are kept.
    pub kept: KeptTokens,
    /// Runs a question to its end, because the answer may hold a new refresh token.
    pub background: Arc<dyn Background>,
    /// The counters of events.
    pub metrics: Arc<dyn Metrics>,
    /// The audit log of refused rechecks.
    pub audit: Arc<dyn AuditLog>,
}

/// What a question needs that may outlive its request.
struct Shared {
    sessions: Arc<dyn RefreshTokenRepo>,
    kept: KeptTokens,
    metrics: Arc<dyn Metrics>,
    audit: Arc<dyn AuditLog>,
    /// Providers' answers that the store could not take, until it can. Many providers accept a refresh
    /// token once: if the new one were lost, the person would be signed out the next time.
    unstored: Bounded<SessionId, UpstreamRenewal>,
}

/// One question to a provider.
pub(crate) struct Question {
    pub(crate) provider: RegisteredProvider,
    pub(crate) session: Session,
    pub(crate) roles: RolePolicy,
    /// What has to be due for the provider to be asked.
    pub(crate) due: UpstreamDue,
    pub(crate) now: Timestamp,
    /// For how long nobody else may ask.
    pub(crate) lease: Duration,
    /// How long the caller waits. The question goes on without it.
    pub(crate) patience: Duration,
}

/// What came of a question.
pub(crate) enum Answered {
    /// Nothing is due, or another caller asks, or there is no refresh token.
    NotAsked,
    /// The provider has not answered yet; what it says will be stored.
    Slowly,
    /// An answer that could not be stored before is stored now.
    StoredLate(Option<Vec<Role>>),
    /// The provider confirmed the user, and this is stored.
    Renewed {
        /// The roles that follow from the claims; `None` if it sent none.
        claimed_roles: Option<Vec<Role>>,
        /// The new access token, where it is kept.
        access: Option<ProviderAccess>,
    },
    /// The provider refused the person. The session has ended, if the provider is asked again at refreshes;
    /// else it goes on without the provider's tokens.
    Refused,
    /// The provider could not be asked, or its answer confirms nothing.
    Unconfirmed(ProviderError),
    /// Something is down or broken on our side.
    Failed(AuthError),
}

impl Renewals {
    /// Makes what asks providers again.
    pub fn new(ports: RenewalPorts) -> Self {
        let RenewalPorts { sessions, kept, background, metrics, audit } = ports;
        let unstored = Bounded::new(UNSTORED_MEMORY, Duration::MAX);
        let shared = Arc::new(Shared { sessions, kept, metrics, audit, unstored });
        Self { shared, background }
    }

    /// The providers' tokens that are kept.
    pub(crate) fn kept(&self) -> &KeptTokens {
        &self.shared.kept
    }

    /// Puts a question to its provider, if that is due and nobody else does.
    pub(crate) async fn ask(&self, question: Question) -> Answered {
        let (shared, session) = (&self.shared, question.session.id);
        if let Some(renewal) = shared.unstored.remove(&session, Duration::ZERO) {
            let claimed_roles = renewal.claimed_roles.clone();
            return match shared.keep(session, renewal).await {
                Ok(()) => Answered::StoredLate(claimed_roles),
                Err(error) => Answered::Failed(error),
            };
        }
        let (now, patience) = (question.now, question.patience);
        let lease = now + question.lease;
        let claim = shared.kept.repo.claim_upstream(session, question.due, now, lease);
        let claimed = match claim.await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return Answered::NotAsked,
            Err(error) => return Answered::Failed(error.into()),
        };
        let token = match shared.kept.open_refresh(session, &claimed.refresh) {
            Ok(token) => token,
            // As if the provider had given none: a key that is lost for good must not end refreshes.
            Err(_) if matches!(question.due, UpstreamDue::Recheck(_)) => {
                let provider = &question.provider.policy.id;
                self.shared.metrics.provider_recheck(provider, RecheckResult::Impossible);
                return Answered::NotAsked;
            }
            Err(error) => return Answered::Failed(error.into()),
        };
        let slot = Arc::new(Mutex::new(None));
        let (shared, result) = (Arc::clone(shared), Arc::clone(&slot));
        let work = async move {
            let answered = shared.put(question, claimed, token).await;
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(answered);
        };
        self.background.run(Box::pin(work), patience).await;
        let answered = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        answered.unwrap_or(Answered::Slowly)
    }
}

impl Shared {
    /// Shows the refresh token to the provider, and does what follows from the answer.
    async fn put(
        &self,
        question: Question,
        claimed: ClaimedUpstream,
        token: ProviderRefreshToken,
    ) -> Answered {
        let Question { provider, session, roles, due, now, .. } = question;
        let policy = &provider.policy;
        let renewed = provider.adapter.renew(&token, &session.identity).await;
        let result = match &renewed {
            Ok(renewal) if renewal.doubt.is_none() => RecheckResult::Confirmed,
            Err(ProviderError::RefreshRefused(_) | ProviderError::IdTokenRefused(_)) => {
                RecheckResult::Refused
            }
            Ok(_) | Err(_) => RecheckResult::Failed,
        };
        if policy.recheck.is_some() {
            self.metrics.provider_recheck(&policy.id, result);
        }
        let renewal = match renewed {
            Ok(renewal) => renewal,
            Err(_) if result == RecheckResult::Refused => {
                return self.refused(&provider, &session, &claimed.refresh, now).await;
            }
            Err(error) => {
                // Not shown, so it can be shown at once. A recheck is not repeated at once, though.
                let may_release = matches!(due, UpstreamDue::Access(_)) && error.was_not_asked();
                if may_release {
                    let _ = self.kept.repo.release_upstream(session.id, &claimed.refresh).await;
                }
                return Answered::Unconfirmed(error);
            }
        };
        let claimed_roles = renewal.claims.map(|claims| roles.claimed(&session.provider, &claims));
        let sealed = renewal.refresh_token.map(|token| self.kept.seal_refresh(session.id, &token));
        let refresh = match sealed.transpose() {
            Ok(refresh) => refresh,
            Err(error) => return Answered::Failed(error.into()),
        };
        let id = renewal.id_token.filter(|_| policy.logout.keeps_id_token);
        // The one before is as good a hint, and nothing may cost the new refresh token.
        let id = id.and_then(|token| self.kept.seal_id(session.id, &token).ok());
        let access = renewal.access.filter(|_| policy.access.is_some());
        let kept_access = access.as_ref();
        let kept_access: Option<KeptAccess> =
            kept_access.and_then(|access| self.kept.seal_access(session.id, access, now).ok());
        let tokens = UpstreamTokens { refresh, id, access: kept_access };
        // An answer that confirms nothing is asked for again as soon as one that did not come.
        let at = match (&renewal.doubt, policy.recheck) {
            (Some(_), Some(rule)) => now - rule.every + rule.lease,
            (Some(_), None) | (None, _) => now,
        };
        // What another replica's clock has written is never newer than what comes after it.
        let at = at.max(claimed.asked_at);
        let stored = UpstreamRenewal { tokens, claimed_roles: claimed_roles.clone(), at };
        match (self.keep(session.id, stored).await, renewal.doubt) {
            (Ok(()), None) => Answered::Renewed { claimed_roles, access },
            (Ok(()), Some(doubt)) => Answered::Unconfirmed(doubt),
            (Err(error), _) => Answered::Failed(error),
        }
    }

    /// Does what follows from a refusal.
    async fn refused(
        &self,
        provider: &RegisteredProvider,
        session: &Session,
        shown: &SealedToken,
        now: Timestamp,
    ) -> Answered {
        if provider.policy.recheck.is_none() {
            return match self.kept.repo.forget_upstream(session.id, shown).await {
                Ok(()) => Answered::Refused,
                Err(error) => Answered::Failed(error.into()),
            };
        }
        let reason = RevokeReason::ProviderRefused;
        match self.sessions.end_session(session.id, session.user, reason, now).await {
            Ok(ended) => {
                if ended == EndOutcome::Ended {
                    self.metrics.sessions_revoked(reason, 1);
                    let actor = Actor::Provider(session.provider.clone());
                    let event = AuditEvent::new(AuditKind::ProviderRefused, now, actor);
                    self.audit.record(event.of_user(session.user).of_session(session.id));
                }
                Answered::Refused
            }
            Err(error) => Answered::Failed(error.into()),
        }
    }

    /// Stores what the provider said, or keeps it until that is possible.
    async fn keep(&self, session: SessionId, renewal: UpstreamRenewal) -> Result<(), AuthError> {
        match self.kept.repo.keep_upstream(session, &renewal).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.unstored.insert(session, renewal, Duration::ZERO);
                Err(error.into())
            }
        }
    }
}
