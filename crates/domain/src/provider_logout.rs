//! The use case: a provider says that sessions at it have ended, and ours end with them.

use std::sync::Arc;

use crate::model::{Actor, AuditEvent, AuditKind, ProviderId, RevokeReason, Timestamp};
use crate::ports::{AuditLog, Clock, LogoutOrder, Metrics, ProviderLogoutOutcome};
use crate::{AuthError, LogoutScope, LogoutTokenText, Sessions, SignIn};

/// Carries out what providers order (OIDC Back-Channel Logout).
pub struct ProviderLogout {
    /// The configured providers, which verify logout tokens.
    pub sign_in: Arc<SignIn>,
    /// The stores of sessions and of their users.
    pub sessions: Sessions,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The counters and timers of events.
    pub metrics: Arc<dyn Metrics>,
    /// Where the orders are noted.
    pub audit: Arc<dyn AuditLog>,
}

impl ProviderLogout {
    /// Ends the sessions that a logout token is about; how many.
    ///
    /// # Errors
    /// [`AuthError::UnknownProvider`], [`AuthError::InvalidLogoutToken`] (also for one that came
    /// before), or that the provider's keys or the store cannot be had: nothing has ended then.
    pub async fn end_sessions(
        &self,
        provider: &str,
        token: &LogoutTokenText,
    ) -> Result<(ProviderId, u64), AuthError> {
        let provider = self.sign_in.providers().named(provider)?;
        let mut order = provider.adapter.verify_logout(token).await.map_err(AuthError::Provider)?;
        if provider.policy.logout_scope == LogoutScope::Person && order.subject.is_some() {
            order.session = None;
        }
        let now = Timestamp::from(self.clock.now());
        match self.sessions.end_by_provider(&order, now).await? {
            ProviderLogoutOutcome::Ended(count) => {
                self.metrics.sessions_revoked(RevokeReason::ProviderLogout, count);
                self.note(&provider.policy.id, &order, count, now);
                Ok((provider.policy.id.clone(), count))
            }
            ProviderLogoutOutcome::Replayed => {
                Err(AuthError::InvalidLogoutToken("it came before".into()))
            }
        }
    }

    fn note(&self, provider: &ProviderId, order: &LogoutOrder, ended: u64, now: Timestamp) {
        let actor = Actor::Provider(provider.clone());
        let mut event = AuditEvent::new(AuditKind::ProviderLogout, now, actor);
        event.issuer = Some(order.issuer.clone());
        event.personal.subject.clone_from(&order.subject);
        if let Some(session) = &order.session {
            event = event.with("provider_sid", session);
        }
        self.audit.record(event.with("sessions_ended", ended));
    }
}
