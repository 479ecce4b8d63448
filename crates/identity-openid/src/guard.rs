//! A provider in trouble, kept from harming anybody else: a limit to the calls at once, and a circuit
//! breaker, around any adapter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::Nonce;
use mintgate_domain::model::{ProviderId, VerifiedIdentity};
use mintgate_domain::ports::{
    CircuitState, Clock, CodeGrant, IdentityProvider, Metrics, ProviderError, ProviderTokens,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::is_outage;

/// The limits of a [`GuardedProvider`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardConfig {
    /// So many exchanges may be under way at once, and so many verifications; at least one.
    pub max_concurrent: usize,
    /// So many failures in a row open the circuit; at least one.
    pub failures_to_open: u32,
    /// The circuit stays open for so long before one call is let through to try.
    pub open_for: Duration,
}

impl Default for GuardConfig {
    /// 64 calls, 5 failures, 10 seconds.
    fn default() -> Self {
        Self { max_concurrent: 64, failures_to_open: 5, open_for: Duration::from_secs(10) }
    }
}

/// A provider with a limit to the calls at once and a circuit breaker.
///
/// What is beyond the limit, or comes while the circuit is open, fails at once as
/// [`ProviderError::Unreachable`]: a code was not sent. Nothing waits in a queue.
///
/// A failure is a provider that cannot be reached, does not answer in time, breaks off, or answers
/// with a status of 500 or above. Everything else it says of a code is an answer, a refusal too: who
/// sends bad codes closes nobody else's way. A refused ID token says nothing either way, as it may
/// have been refused without asking the provider.
///
/// The verification that follows an exchange is let through whatever the circuit says: its code is
/// spent, and failing it would waste a sign-in that may succeed.
pub struct GuardedProvider {
    inner: Arc<dyn IdentityProvider>,
    provider: ProviderId,
    config: GuardConfig,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    redeeming: Semaphore,
    verifying: Semaphore,
    circuit: Mutex<Circuit>,
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
        let permits = config.max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            inner,
            provider,
            config,
            clock,
            metrics,
            redeeming: Semaphore::new(permits),
            verifying: Semaphore::new(permits),
            circuit: Mutex::new(Circuit::Closed { failures: 0 }),
        }
    }

    /// Waits for no permit: a queue would only make everybody in it late.
    fn permit<'a>(&self, semaphore: &'a Semaphore) -> Result<SemaphorePermit<'a>, ProviderError> {
        semaphore.try_acquire().map_err(|_| {
            ProviderError::Unreachable(format!(
                "{} calls are under way already, so it was not asked",
                self.config.max_concurrent.max(1)
            ))
        })
    }

    /// Lets a call through, or not; whoever is let through says by the ticket how it went.
    fn admit(&self) -> Result<Ticket<'_>, ProviderError> {
        let mut circuit = self.circuit();
        let trial = match *circuit {
            Circuit::Closed { .. } => false,
            Circuit::HalfOpen { trying: false } => true,
            Circuit::Open { since }
                if self.clock.monotonic().saturating_sub(since) >= self.config.open_for =>
            {
                true
            }
            Circuit::Open { .. } | Circuit::HalfOpen { trying: true } => {
                return Err(ProviderError::Unreachable(
                    "it failed too often just now, so it was not asked (its circuit is open)"
                        .to_owned(),
                ));
            }
        };
        if trial {
            self.become_state(&mut circuit, Circuit::HalfOpen { trying: true });
        }
        Ok(Ticket { guard: self, trial, said: false })
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
                CircuitState::Open => tracing::warn!(%provider, "its circuit is open"),
                CircuitState::HalfOpen => tracing::info!(%provider, "its circuit is half open"),
                CircuitState::Closed => tracing::info!(%provider, "its circuit is closed again"),
            }
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            Err(ProviderError::IdTokenRefused(_)) => Self::Nothing,
            Ok(_) | Err(_) => Self::Works,
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
        let _permit = self.permit(&self.redeeming)?;
        let ticket = self.admit()?;
        let result = self.inner.redeem(grant).await;
        ticket.say(Told::by(&result));
        result
    }

    async fn verify(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let _permit = self.permit(&self.verifying)?;
        let ticket = match &tokens.access_token {
            Some(_) => Ticket { guard: self, trial: false, said: false },
            None => self.admit()?,
        };
        let result = self.inner.verify(tokens, nonce).await;
        ticket.say(Told::by(&result));
        result
    }
}
