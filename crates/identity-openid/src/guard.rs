//! A limit on concurrent calls and a circuit breaker around any provider, so that one in trouble
//! harms no other.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{ExternalIdentity, ProviderId, VerifiedIdentity};
use mintgate_domain::ports::{
    AuthorizationEndpoint, CircuitState, Clock, CodeGrant, IdentityProvider, LogoutOrder, Metrics,
    Misbehaviour, ProviderError, ProviderTokens, Renewal, TokenSource,
};
use mintgate_domain::{Cause, LogoutTokenText, Nonce, ProviderRefreshToken, chain};
use tokio::sync::Notify;

use crate::breaker::{Admission, Breaker, CallOutcome, CircuitOpen};
use crate::bulkhead::{Bulkhead, Permit, QueueError};

/// The limits of a [`GuardedProvider`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardConfig {
    /// How many exchanges and renewals may run at once, and how many calls of each other kind; at
    /// least one. Of each, 16 times as many may wait.
    pub max_concurrent: usize,
    /// The longest that a call waits in the queue.
    pub max_wait: Duration,
    /// How many failures in a row open the circuit; at least one.
    pub failures_to_open: u32,
    /// How long the circuit stays open before one call is let through as a trial.
    pub open_for: Duration,
}

impl Default for GuardConfig {
    /// 64 concurrent calls, 5 seconds in the queue, 5 failures, 10 seconds open.
    fn default() -> Self {
        Self {
            max_concurrent: 64,
            max_wait: Duration::from_secs(5),
            failures_to_open: 5,
            open_for: Duration::from_secs(10),
        }
    }
}

/// A provider with a limit on concurrent calls and a circuit breaker.
///
/// A call beyond the limit waits, up to [`GuardConfig::max_wait`]; the networks of callers take turns. A call that has waited for so long, or finds
/// the queue full, fails as [`ProviderError::Busy`], and one that comes while the circuit is open as
/// [`ProviderError::Unreachable`]: a code was not sent. When the circuit opens, every waiting call that the circuit would have to
/// admit fails at once. So a call takes no longer than `max_wait` and the time limit of the adapter
/// together, and much less once a provider is known to hang.
///
/// A failure is a provider that cannot be reached, does not answer in time, closes the connection
/// before its answer is complete, or answers with a status of 500 or above. Of the answers to a code,
/// only those count that say that the provider is down (502, 503, 504): any other can be about the code,
/// and a stranger with odd codes must not lock out the others. Every other answer is a success, a
/// refused code too. A refused ID
/// token counts as neither, as it may have been refused without asking the provider.
///
/// The circuit does not stop the verification that follows an exchange: its code is spent, and
/// failing the call would waste a sign-in that may succeed. Nor does it stop logout tokens and the
/// questions where logins begin and where people sign out: the cache answers most of these, and a provider in trouble may still
/// end its sessions. They have limits of their own. If one of them fails for want of an answer, that
/// counts as a failure; its success counts as neither.
///
/// Every call opens a span at the level `debug` with the provider's id. The time in the queue is the time
/// before its first HTTP request.
pub struct GuardedProvider {
    inner: Arc<dyn IdentityProvider>,
    provider: ProviderId,
    config: GuardConfig,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    /// Limits exchanges and renewals together.
    redeeming: Bulkhead,
    verifying: Bulkhead,
    beginning: Bulkhead,
    ending: Bulkhead,
    breaker: Mutex<Breaker>,
    /// Wakes the calls in the queue when the circuit opens.
    opened: Notify,
}

impl GuardedProvider {
    /// Puts the limits of `config` around the adapter `inner` of this provider.
    pub fn new(
        provider: ProviderId,
        inner: Arc<dyn IdentityProvider>,
        config: GuardConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Self {
        let bulkhead = || Bulkhead::new(config.max_concurrent);
        Self {
            inner,
            provider,
            config,
            clock,
            metrics,
            redeeming: bulkhead(),
            verifying: bulkhead(),
            beginning: bulkhead(),
            ending: bulkhead(),
            breaker: Mutex::new(Breaker::new(config.failures_to_open, config.open_for)),
            opened: Notify::new(),
        }
    }

    /// Waits for a permit, whatever the circuit says.
    async fn permit<'a>(&self, bulkhead: &'a Bulkhead) -> Result<Permit<'a>, ProviderError> {
        bulkhead.acquire(self.config.max_wait).await.map_err(|error| {
            let limit = self.config.max_concurrent.max(1);
            not_asked(match error {
                QueueError::Full => NotAsked::QueueFull(limit),
                QueueError::TimedOut => NotAsked::QueueTimedOut(limit),
            })
        })
    }

    /// Starts a call that the circuit does not stop.
    async fn start_regardless<'a>(
        &'a self,
        bulkhead: &'a Bulkhead,
    ) -> Result<Call<'a>, ProviderError> {
        let permit = self.permit(bulkhead).await?;
        Ok(Call {
            guard: self,
            admission: Admission::Normal,
            outcome: CallOutcome::Unknown,
            _permit: permit,
        })
    }

    /// Starts a call if the circuit admits it; does not wait for a permit while the circuit is open.
    async fn start<'a>(&'a self, bulkhead: &'a Bulkhead) -> Result<Call<'a>, ProviderError> {
        let mut opened = pin!(self.opened.notified());
        // Registered before the circuit is checked, so that no opening is missed in between.
        opened.as_mut().enable();
        self.with_breaker(|breaker, now| breaker.check(now)).map_err(not_asked)?;
        let permit = tokio::select! {
            biased;
            () = opened => return Err(not_asked(CircuitOpen)),
            permit = self.permit(bulkhead) => permit?,
        };
        let admission = self.with_breaker(Breaker::admit).map_err(not_asked)?;
        Ok(Call { guard: self, admission, outcome: CallOutcome::Unknown, _permit: permit })
    }

    /// Uses the breaker, and reports a change of its state while it is locked, so that reports keep
    /// the order of the changes.
    fn with_breaker<T>(&self, act: impl FnOnce(&mut Breaker, Duration) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.state();
        let result = act(&mut breaker, self.clock.monotonic());
        let after = breaker.state();
        if before != after {
            self.metrics.provider_circuit(&self.provider, after);
            let provider = &self.provider;
            match after {
                CircuitState::Open => {
                    self.opened.notify_waiters();
                    tracing::warn!(%provider, "the circuit of this provider is open");
                }
                CircuitState::HalfOpen => {
                    tracing::info!(%provider, "the circuit of this provider is half open");
                }
                CircuitState::Closed => {
                    tracing::info!(%provider, "the circuit of this provider is closed again");
                }
            }
        }
        result
    }
}

/// Why a [`GuardedProvider`] did not call its provider: the source of the cause in its
/// [`ProviderError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// The provider has failed too often just now.
    #[error("it failed too often just now, and its circuit is open")]
    CircuitOpen,
    /// So many calls are under way, and the queue behind them is full.
    #[error("{0} calls are under way, and the queue is full")]
    QueueFull(usize),
    /// So many calls are under way, and the call waited in the queue for as long as it may.
    #[error("{0} calls are under way, and the call waited too long")]
    QueueTimedOut(usize),
}

impl From<CircuitOpen> for NotAsked {
    fn from(CircuitOpen: CircuitOpen) -> Self {
        Self::CircuitOpen
    }
}

fn not_asked(reason: impl Into<NotAsked>) -> ProviderError {
    let reason = reason.into();
    let error = match reason {
        NotAsked::CircuitOpen => ProviderError::Unreachable,
        NotAsked::QueueFull(_) | NotAsked::QueueTimedOut(_) => ProviderError::Busy,
    };
    error(Cause::from_error("it was not asked", reason))
}

/// The conclusion from a result about the provider, for the circuit breaker.
fn outcome<T>(result: &Result<T, ProviderError>) -> CallOutcome {
    match result {
        Err(error) if error.is_outage() => CallOutcome::Failure,
        Err(
            ProviderError::IdTokenRefused(_)
            | ProviderError::LogoutTokenRefused(_)
            | ProviderError::Busy(_)
            | ProviderError::Misbehaved(Misbehaviour::FailedRequest, _),
        ) => CallOutcome::Unknown,
        Ok(_) | Err(_) => CallOutcome::Success,
    }
}

/// A call under way. Recorded with the breaker when it is dropped; as [`CallOutcome::Unknown`] if it
/// has not finished, as its caller went away.
struct Call<'a> {
    guard: &'a GuardedProvider,
    admission: Admission,
    outcome: CallOutcome,
    _permit: Permit<'a>,
}

impl Call<'_> {
    /// Finishes a call that was sent to the provider.
    fn finish<T>(mut self, result: Result<T, ProviderError>) -> Result<T, ProviderError> {
        self.outcome = outcome(&result);
        result
    }

    /// Finishes a call that the cache may have answered: only a failure says anything.
    fn finish_cached<T>(mut self, result: Result<T, ProviderError>) -> Result<T, ProviderError> {
        if outcome(&result) == CallOutcome::Failure {
            self.outcome = CallOutcome::Failure;
        }
        result
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let (admission, outcome) = (self.admission, self.outcome);
        self.guard.with_breaker(|breaker, now| breaker.record(admission, outcome, now));
    }
}

#[async_trait]
impl IdentityProvider for GuardedProvider {
    #[tracing::instrument(level = "debug", skip_all, fields(provider = %self.provider))]
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        let call = self.start(&self.redeeming).await?;
        call.finish(self.inner.redeem(grant).await)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(provider = %self.provider))]
    async fn verify(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let call = match tokens.source {
            TokenSource::TokenEndpoint { .. } => self.start_regardless(&self.verifying).await?,
            TokenSource::Client => self.start(&self.verifying).await?,
        };
        call.finish(self.inner.verify(tokens, nonce).await)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(provider = %self.provider))]
    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        let call = self.start_regardless(&self.beginning).await?;
        call.finish_cached(self.inner.authorization_endpoint().await)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(provider = %self.provider))]
    async fn end_session_endpoint(&self) -> Result<Option<String>, ProviderError> {
        let call = self.start_regardless(&self.ending).await?;
        call.finish_cached(self.inner.end_session_endpoint().await)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(provider = %self.provider))]
    async fn renew(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        let renewal = async {
            let call = self.start(&self.redeeming).await?;
            call.finish(self.inner.renew(token, identity).await)
        };
        let renewal = renewal.await;
        let provider = &self.provider;
        match &renewal {
            Ok(Renewal { doubt: None, .. }) => {}
            Ok(Renewal { doubt: Some(error), .. }) => {
                tracing::warn!(%provider, error = %chain(error), "the provider was asked again about a session, and its answer confirms nothing");
            }
            Err(error) => {
                tracing::warn!(%provider, error = %chain(error), "the provider was asked again about a session, without a confirmation");
            }
        }
        renewal
    }

    #[tracing::instrument(level = "debug", skip_all, fields(provider = %self.provider))]
    async fn verify_logout(&self, token: &LogoutTokenText) -> Result<LogoutOrder, ProviderError> {
        let call = self.start_regardless(&self.ending).await?;
        call.finish_cached(self.inner.verify_logout(token).await)
    }
}
