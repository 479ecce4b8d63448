//! Providers asked again: may those who signed in there still do so?

use std::sync::Arc;
use std::time::Duration;

use crate::memory::Bounded;
use crate::model::{Role, Session, SessionId, Timestamp};
use crate::ports::{
    Metrics, ProviderError, RecheckResult, TokenSeal, UpstreamRenewal, UpstreamTokenRepo,
};
use crate::{AuthError, RolePolicy, SignIn};

/// How many providers' answers are kept that could not be stored.
const UNSTORED_MEMORY: usize = 10_000;

/// Asks providers again, with the refresh tokens they gave at the sign-in.
pub struct Recheck {
    sign_in: Arc<SignIn>,
    tokens: Arc<dyn UpstreamTokenRepo>,
    seal: Arc<dyn TokenSeal>,
    metrics: Arc<dyn Metrics>,
    /// Providers' answers that the store could not take, until it can. Many providers accept a refresh
    /// token once: if the new one were lost, the person would be signed out the next time.
    unstored: Bounded<SessionId, UpstreamRenewal>,
}

/// The result of asking a provider again.
pub(crate) enum Rechecked {
    /// The session's provider is not to be asked again.
    NotWanted,
    /// Nothing has changed: the question is not due, or another request asks it, or the provider
    /// cannot be asked now, which signs nobody out.
    AsBefore,
    /// The provider sent claims again; these roles follow from them.
    Claimed(Vec<Role>),
    /// The provider refuses the person; the session ends.
    Refused,
    /// Something is down or broken on our side.
    Failed(AuthError),
}

impl Recheck {
    /// Makes the use case that asks the providers of `sign_in` again, with the refresh tokens in
    /// `tokens`, which `seal` encrypts.
    pub fn new(
        sign_in: Arc<SignIn>,
        tokens: Arc<dyn UpstreamTokenRepo>,
        seal: Arc<dyn TokenSeal>,
        metrics: Arc<dyn Metrics>,
    ) -> Self {
        Self {
            sign_in,
            tokens,
            seal,
            metrics,
            unstored: Bounded::new(UNSTORED_MEMORY, Duration::MAX),
        }
    }

    /// Asks about a live session, if that is due.
    pub(crate) async fn ask(
        &self,
        session: &Session,
        policy: &RolePolicy,
        now: Timestamp,
    ) -> Rechecked {
        let Some(provider) = self.sign_in.providers().find(session.provider.as_str()) else {
            return Rechecked::NotWanted;
        };
        let Some(rule) = provider.policy.recheck else { return Rechecked::NotWanted };
        let unstored = self.unstored.remove(&session.id, Duration::ZERO);
        if let Some(renewal) = unstored {
            return self.keep(session.id, renewal).await;
        }
        let (due, lease) = (now - rule.every, now + rule.lease);
        let sealed = match self.tokens.claim_upstream(session.id, due, now, lease).await {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Rechecked::AsBefore,
            Err(error) => return Rechecked::Failed(error.into()),
        };
        let token = match self.seal.open(session.id, &sealed) {
            Ok(token) => token,
            Err(error) => return Rechecked::Failed(error.into()),
        };
        let renewed = provider.adapter.renew(&token, &session.identity).await;
        let result = match &renewed {
            Ok(_) => RecheckResult::Confirmed,
            Err(ProviderError::RefreshRefused(_) | ProviderError::IdTokenRefused(_)) => {
                RecheckResult::Refused
            }
            Err(_) => RecheckResult::Failed,
        };
        self.metrics.provider_recheck(&provider.policy.id, result);
        let renewal = match renewed {
            Ok(renewal) => renewal,
            Err(_) if result == RecheckResult::Refused => return Rechecked::Refused,
            Err(_) => return Rechecked::AsBefore,
        };
        let claimed_roles = renewal.claims.map(|claims| policy.claimed(&session.provider, &claims));
        let token = match renewal.refresh_token.map(|token| self.seal.seal(session.id, &token)) {
            None => None,
            Some(Ok(sealed)) => Some(sealed),
            Some(Err(error)) => return Rechecked::Failed(error.into()),
        };
        self.keep(session.id, UpstreamRenewal { token, claimed_roles, at: now }).await
    }

    /// Stores what the provider said, or keeps it until that is possible.
    async fn keep(&self, session: SessionId, renewal: UpstreamRenewal) -> Rechecked {
        match self.tokens.keep_upstream(session, &renewal).await {
            Ok(()) => renewal.claimed_roles.map_or(Rechecked::AsBefore, Rechecked::Claimed),
            Err(error) => {
                self.unstored.insert(session, renewal, Duration::ZERO);
                Rechecked::Failed(error.into())
            }
        }
    }
}
