//! A provider in trouble, kept from harming anybody else: a limit to the calls at once, with a short
//! queue, and a circuit breaker, around any adapter.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{ExternalIdentity, ProviderId, VerifiedIdentity};
use mintgate_domain::ports::{
    AuthorizationEndpoint, CircuitState, Clock, CodeGrant, IdentityProvider, LogoutOrder, Metrics,
    ProviderError, ProviderTokens, Renewal,
};
use mintgate_domain::{LogoutTokenText, Nonce, ProviderRefreshToken};
use tokio::sync::{Notify, SemaphorePermit};

use crate::gate::{Gate, Turned};
use crate::http::is_outage;

/// The limits of a [`GuardedProvider`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardConfig {
    /// So many exchanges and renewals may be under way at once, and so many calls of each other kind;
    /// at least one. Of each, 16 times as many may wait.
    pub max_concurrent: usize,
    /// For so long a call waits for its turn.
    pub max_wait: Duration,
    /// So many failures in a row open the circuit; at least one.
    pub failures_to_open: u32,
    /// The circuit stays open for so long before one call is let through to try.
    pub open_for: Duration,
}

impl Default for GuardConfig {
    /// 64 calls, which others wait for 5 seconds for; 5 failures, 10 seconds.
    fn default() -> Self {
        Self {
            max_concurrent: 64,
            max_wait: Duration::from_secs(5),
            failures_to_open: 5,
            open_for: Duration::from_secs(10),
        }
    }
}

/// A provider with a limit to the calls at once and a circuit breaker.
///
/// What is beyond the limit waits for its turn, up to [`GuardConfig::max_wait`]. What has waited for so
/// long, finds the queue full, or comes while the circuit is open, fails as
/// [`ProviderError::Unreachable`]: a code was not sent. When the circuit opens, everybody who waits for
/// it to let them through fails at once. So a call takes no longer than `max_wait` and the time limit
/// of the adapter together, and much less once a provider is known to hang.
///
/// A failure is a provider that cannot be reached, does not answer in time, breaks off, or answers
/// with a status of 500 or above. Everything else it says of a code is an answer, a refusal too: who
/// sends bad codes closes nobody else's way. A refused ID token says nothing either way, as it may
/// have been refused without asking the provider.
///
/// The verification that follows an exchange is let through whatever the circuit says: its code is
/// spent, and failing it would waste a sign-in that may succeed. So are logout tokens and the question
/// where logins begin, each with a limit of its own: what is cached answers them, mostly, and a
/// provider that has trouble now may still end its sessions. If they do fail for want of an answer,
/// that counts like any failure; that they succeed tells nothing.
pub struct GuardedProvider {
    inner: Arc<dyn IdentityProvider>,
    provider: ProviderId,
    config: GuardConfig,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    /// Exchanges and renewals.
    redeeming: Gate,
    verifying: Gate,
    beginning: Gate,
    ending: Gate,
    circuit: Mutex<Circuit>,
    /// Tells those who wait.
    opened: Notify,
}

#[derive(Debug, Clone, Copy)]
enum Circuit {
    Closed {
        failures: u32,
    },
    Open {
        since: Duration,
    },
    HalfOpen {
        /// Whether somebody is trying; none are if who tried gave up or learnt nothing.
        trying: bool,
    },
}

impl GuardedProvider {
    /// Puts a guard around an adapter.
    pub fn new(
        provider: ProviderId,
        inner: Arc<dyn IdentityProvider>,
        config: GuardConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Self {
        let gate = || Gate::new(config.max_concurrent);
        Self {
            inner,
            provider,
            config,
            clock,
            metrics,
            redeeming: gate(),
            verifying: gate(),
            beginning: gate(),
            ending: gate(),
            circuit: Mutex::new(Circuit::Closed { failures: 0 }),
            opened: Notify::new(),
        }
    }

    /// Waits for a place, whatever the circuit says.
    async fn place<'a>(&self, gate: &'a Gate) -> Result<SemaphorePermit<'a>, ProviderError> {
        if let Some(place) = gate.try_enter() {
            return Ok(place);
        }
        gate.enter(self.config.max_wait).await.map_err(|turned| {
            let limit = self.config.max_concurrent.max(1);
            let then = match turned {
                Turned::Away => "and as many wait as may",
                Turned::Late => "and it was not this one's turn in time",
            };
            let text = format!("{limit} calls are under way, {then}; so it was not asked");
            ProviderError::Unreachable(text)
        })
    }

    /// Waits for a place, and for no place of a provider whose circuit is open. Whoever is let through
    /// says by the ticket how it went.
    async fn admit<'a>(
        &'a self,
        gate: &'a Gate,
    ) -> Result<(SemaphorePermit<'a>, Ticket<'a>), ProviderError> {
        let mut opened = pin!(self.opened.notified());
        // From here on no opening is missed; one before shows in the circuit.
        opened.as_mut().enable();
        self.is_trial(*self.circuit())?;
        let place = tokio::select! {
            biased;
            () = opened => return Err(kept_out()),
            place = self.place(gate) => place?,
        };
        let mut circuit = self.circuit();
        let trial = self.is_trial(*circuit)?;
        if trial {
            self.become_state(&mut circuit, Circuit::HalfOpen { trying: true });
        }
        drop(circuit);
        Ok((place, Ticket { guard: self, trial, said: false }))
    }

    /// Whether a call now would be the one that tries; an error if it would be none.
    fn is_trial(&self, circuit: Circuit) -> Result<bool, ProviderError> {
        match circuit {
            Circuit::Closed { .. } => Ok(false),
            Circuit::HalfOpen { trying: false } => Ok(true),
            Circuit::Open { since }
                if self.clock.monotonic().saturating_sub(since) >= self.config.open_for =>
            {
                Ok(true)
            }
            Circuit::Open { .. } | Circuit::HalfOpen { trying: true } => Err(kept_out()),
        }
    }

    /// A call that needs no leave.
    fn uninvited(&self) -> Ticket<'_> {
        Ticket { guard: self, trial: false, said: false }
    }

    fn record(&self, trial: bool, told: Told) {
        let mut circuit = self.circuit();
        let next = match (*circuit, told) {
            (Circuit::Closed { .. }, Told::Works) => Circuit::Closed { failures: 0 },
            (Circuit::Closed { failures }, Told::Fails) => {
                if failures + 1 >= self.config.failures_to_open {
                    Circuit::Open { since: self.clock.monotonic() }
                } else {
                    Circuit::Closed { failures: failures + 1 }
                }
            }
            (Circuit::HalfOpen { .. }, Told::Works) if trial => Circuit::Closed { failures: 0 },
            (Circuit::HalfOpen { .. }, Told::Fails) if trial => {
                Circuit::Open { since: self.clock.monotonic() }
            }
            (Circuit::HalfOpen { .. }, Told::Nothing) if trial => {
                Circuit::HalfOpen { trying: false }
            }
            // Calls from before the circuit opened tell nothing new.
            (unchanged, _) => unchanged,
        };
        self.become_state(&mut circuit, next);
    }

    /// Under the lock, so that changes are told in their order.
    fn become_state(&self, circuit: &mut Circuit, next: Circuit) {
        let (before, after) = (state(*circuit), state(next));
        *circuit = next;
        if before != after {
            self.metrics.provider_circuit(&self.provider, after);
            let provider = &self.provider;
            match after {
                CircuitState::Open => {
                    self.opened.notify_waiters();
                    tracing::warn!(%provider, "its circuit is open");
                }
                CircuitState::HalfOpen => tracing::info!(%provider, "its circuit is half open"),
                CircuitState::Closed => tracing::info!(%provider, "its circuit is closed again"),
            }
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kept_out() -> ProviderError {
    let text = "it failed too often just now, so it was not asked (its circuit is open)";
    ProviderError::Unreachable(text.to_owned())
}

fn state(circuit: Circuit) -> CircuitState {
    match circuit {
        Circuit::Closed { .. } => CircuitState::Closed,
        Circuit::Open { .. } => CircuitState::Open,
        Circuit::HalfOpen { .. } => CircuitState::HalfOpen,
    }
}

/// What a call tells of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Works,
    Fails,
    Nothing,
}

impl Told {
    fn by<T>(result: &Result<T, ProviderError>) -> Self {
        match result {
            Err(error) if is_outage(error) => Self::Fails,
            Err(ProviderError::IdTokenRefused(_) | ProviderError::LogoutTokenRefused(_)) => {
                Self::Nothing
            }
            Ok(_) | Err(_) => Self::Works,
        }
    }

    /// Where what is cached may have answered.
    fn failure_by<T>(result: &Result<T, ProviderError>) -> Self {
        match Self::by(result) {
            Self::Fails => Self::Fails,
            Self::Works | Self::Nothing => Self::Nothing,
        }
    }
}

/// A call that was let through. Dropped without a word it has told nothing: its caller went away.
struct Ticket<'a> {
    guard: &'a GuardedProvider,
    trial: bool,
    said: bool,
}

impl Ticket<'_> {
    fn say(mut self, told: Told) {
        self.said = true;
        self.guard.record(self.trial, told);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.said {
            self.guard.record(self.trial, Told::Nothing);
        }
    }
}

#[async_trait]
impl IdentityProvider for GuardedProvider {
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        let (_place, ticket) = self.admit(&self.redeeming).await?;
        let result = self.inner.redeem(grant).await;
        ticket.say(Told::by(&result));
        result
    }

    async fn verify(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let (_place, ticket) = match &tokens.access_token {
            Some(_) => (self.place(&self.verifying).await?, self.uninvited()),
            None => self.admit(&self.verifying).await?,
        };
        let result = self.inner.verify(tokens, nonce).await;
        ticket.say(Told::by(&result));
        result
    }

    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        let _place = self.place(&self.beginning).await?;
        let ticket = self.uninvited();
        let result = self.inner.authorization_endpoint().await;
        ticket.say(Told::failure_by(&result));
        result
    }

    async fn renew(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        let (_place, ticket) = self.admit(&self.redeeming).await?;
        let result = self.inner.renew(token, identity).await;
        ticket.say(Told::by(&result));
        result
    }

    async fn verify_logout(&self, token: &LogoutTokenText) -> Result<LogoutOrder, ProviderError> {
        let _place = self.place(&self.ending).await?;
        let ticket = self.uninvited();
        let result = self.inner.verify_logout(token).await;
        ticket.say(Told::failure_by(&result));
        result
    }
}
