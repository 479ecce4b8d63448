//! Providers asked again: may those who signed in there still do so?

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::memory::Bounded;
use crate::model::{RevokeReason, Role, Session, SessionId, Timestamp, UpstreamTokens};
use crate::ports::{
    Background, EndOutcome, Metrics, ProviderError, RecheckResult, RefreshTokenRepo,
    UpstreamRenewal,
};
use crate::{
    AuthError, KeptTokens, ProviderRefreshToken, RecheckRule, RegisteredProvider, RolePolicy,
    SignIn,
};

/// How many providers' answers are kept that could not be stored.
const UNSTORED_MEMORY: usize = 10_000;
/// How long a refresh waits for a provider. After that the refresh goes on with what is known, and the
/// question goes on without it.
const PATIENCE: Duration = Duration::from_millis(750);

/// Asks providers again, with the refresh tokens they gave at the sign-in.
pub struct Recheck {
    sign_in: Arc<SignIn>,
    shared: Arc<Shared>,
    background: Arc<dyn Background>,
}

/// The ports that [`Recheck`] uses.
pub struct RecheckPorts {
    /// The store of the sessions, which end where the provider refuses.
    pub sessions: Arc<dyn RefreshTokenRepo>,
    /// The providers' tokens that are kept.
    pub kept: KeptTokens,
    /// Runs a question to its end, because the answer may hold a new refresh token.
    pub background: Arc<dyn Background>,
    /// The counters of events.
    pub metrics: Arc<dyn Metrics>,
}

/// What a question needs that may outlive its refresh.
struct Shared {
    sessions: Arc<dyn RefreshTokenRepo>,
    kept: KeptTokens,
    metrics: Arc<dyn Metrics>,
    /// Providers' answers that the store could not take, until it can. Many providers accept a refresh
    /// token once: if the new one were lost, the person would be signed out the next time.
    unstored: Bounded<SessionId, UpstreamRenewal>,
}

/// One question to a provider.
struct Question {
    provider: RegisteredProvider,
    rule: RecheckRule,
    session: Session,
    token: ProviderRefreshToken,
    policy: RolePolicy,
    now: Timestamp,
}

/// The result of asking a provider again.
pub(crate) enum Rechecked {
    /// The session's provider is not to be asked again.
    NotWanted,
    /// Nothing has changed: the question is not due, or another request asks it, or the provider
    /// cannot be asked now or is slow, which signs nobody out.
    AsBefore,
    /// The provider sent claims again; these roles follow from them.
    Claimed(Vec<Role>),
    /// The provider refused the person, and the session has ended.
    Refused,
    /// Something is down or broken on our side.
    Failed(AuthError),
}

impl Recheck {
    /// Makes the use case that asks the providers of `sign_in` again.
    pub fn new(sign_in: Arc<SignIn>, ports: RecheckPorts) -> Self {
        let RecheckPorts { sessions, kept, background, metrics } = ports;
        let unstored = Bounded::new(UNSTORED_MEMORY, Duration::MAX);
        let shared = Arc::new(Shared { sessions, kept, metrics, unstored });
        Self { sign_in, shared, background }
    }

    /// Asks about a live session, if that is due. Waits for the provider for less than a second.
    pub(crate) async fn ask(
        &self,
        session: &Session,
        policy: &RolePolicy,
        now: Timestamp,
    ) -> Rechecked {
        let shared = &self.shared;
        let Some(provider) = self.sign_in.providers().find(session.provider.as_str()) else {
            return Rechecked::NotWanted;
        };
        let Some(rule) = provider.policy.recheck else { return Rechecked::NotWanted };
        let unstored = shared.unstored.remove(&session.id, Duration::ZERO);
        if let Some(renewal) = unstored {
            return shared.keep(session.id, renewal).await;
        }
        let (due, lease) = (now - rule.every, now + rule.lease);
        let sealed = match shared.kept.repo.claim_upstream(session.id, due, now, lease).await {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Rechecked::AsBefore,
            Err(error) => return Rechecked::Failed(error.into()),
        };
        let token = match shared.kept.open_refresh(session.id, &sealed) {
            Ok(token) => token,
            Err(error) => return Rechecked::Failed(error.into()),
        };
        let question = Question {
            provider: provider.clone(),
            rule,
            session: session.clone(),
            token,
            policy: policy.clone(),
            now,
        };
        let answer = Arc::new(Mutex::new(None));
        let (shared, slot) = (Arc::clone(shared), Arc::clone(&answer));
        let work = async move {
            let rechecked = shared.put(question).await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(rechecked);
        };
        self.background.run(Box::pin(work), PATIENCE).await;
        let rechecked = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        rechecked.unwrap_or(Rechecked::AsBefore)
    }
}

impl Shared {
    /// Puts a question to its provider, and does what follows from the answer.
    async fn put(&self, question: Question) -> Rechecked {
        let Question { provider, rule, session, token, policy, now } = question;
        let renewed = provider.adapter.renew(&token, &session.identity).await;
        let result = match &renewed {
            Ok(renewal) if renewal.doubt.is_none() => RecheckResult::Confirmed,
            Err(ProviderError::RefreshRefused(_) | ProviderError::IdTokenRefused(_)) => {
                RecheckResult::Refused
            }
            Ok(_) | Err(_) => RecheckResult::Failed,
        };
        self.metrics.provider_recheck(&provider.policy.id, result);
        let renewal = match renewed {
            Ok(renewal) => renewal,
            Err(_) if result == RecheckResult::Refused => return self.end(&session, now).await,
            Err(_) => return Rechecked::AsBefore,
        };
        let claimed_roles = renewal.claims.map(|claims| policy.claimed(&session.provider, &claims));
        let sealed = renewal.refresh_token.map(|token| self.kept.seal_refresh(session.id, &token));
        let refresh = match sealed.transpose() {
            Ok(refresh) => refresh,
            Err(error) => return Rechecked::Failed(error.into()),
        };
        let id = renewal.id_token.filter(|_| provider.policy.logout.keeps_id_token);
        // The one before is as good a hint, and nothing may cost the new refresh token.
        let id = id.and_then(|token| self.kept.seal_id(session.id, &token).ok());
        let tokens = UpstreamTokens { refresh, id };
        // An answer that confirms nothing is asked for again as soon as one that did not come.
        let at = match renewal.doubt {
            None => now,
            Some(_) => now - rule.every + rule.lease,
        };
        self.keep(session.id, UpstreamRenewal { tokens, claimed_roles, at }).await
    }

    /// Ends a session whose person the provider refuses.
    async fn end(&self, session: &Session, now: Timestamp) -> Rechecked {
        let reason = RevokeReason::ProviderRefused;
        match self.sessions.end_session(session.id, session.user, reason, now).await {
            Ok(ended) => {
                if ended == EndOutcome::Ended {
                    self.metrics.sessions_revoked(reason, 1);
                }
                Rechecked::Refused
            }
            Err(error) => Rechecked::Failed(error.into()),
        }
    }

    /// Stores what the provider said, or keeps it until that is possible.
    async fn keep(&self, session: SessionId, renewal: UpstreamRenewal) -> Rechecked {
        match self.kept.repo.keep_upstream(session, &renewal).await {
            Ok(()) => renewal.claimed_roles.map_or(Rechecked::AsBefore, Rechecked::Claimed),
            Err(error) => {
                self.unstored.insert(session, renewal, Duration::ZERO);
                Rechecked::Failed(error.into())
            }
        }
    }
}
