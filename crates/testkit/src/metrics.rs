//! Metrics that remember every call.

use std::sync::Mutex;
use std::time::Duration;

use mintgate_domain::model::{ProviderId, RevokeReason};
use mintgate_domain::ports::{
    CircuitState, IntrospectionResult, Metrics, Phase, ProviderEndpoint, ProviderTokenResult,
    RecheckResult, RefreshResult, RevocationResult, StoreOperation,
};

/// One call of a [`Metrics`] method.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the arguments of the port's methods")]
pub enum MetricEvent {
    TokenGeneration {
        provider: Option<ProviderId>,
        outcome: &'static str,
    },
    TokenGenerationPhase {
        provider: ProviderId,
        phase: Phase,
        took: Duration,
    },
    Refresh {
        result: RefreshResult,
        took: Duration,
    },
    SessionsRevoked {
        reason: RevokeReason,
        count: u64,
    },
    ProviderRequest {
        provider: ProviderId,
        endpoint: ProviderEndpoint,
        outcome: &'static str,
        took: Duration,
    },
    JwksRefresh {
        provider: ProviderId,
        outcome: &'static str,
    },
    ProviderRecheck {
        provider: ProviderId,
        result: RecheckResult,
    },
    ProviderToken {
        provider: Option<ProviderId>,
        result: ProviderTokenResult,
    },
    Introspection {
        result: IntrospectionResult,
    },
    TokenRevocation {
        result: RevocationResult,
    },
    ProviderCircuit {
        provider: ProviderId,
        state: CircuitState,
    },
    StoreQuery {
        operation: StoreOperation,
        took: Duration,
    },
    StoreLog {
        bytes: u64,
    },
}

/// Metrics that record every event, in order.
#[derive(Debug, Default)]
pub struct RecordingMetrics(Mutex<Vec<MetricEvent>>);

impl RecordingMetrics {
    /// Every event so far, in order.
    pub fn events(&self) -> Vec<MetricEvent> {
        self.0.lock().unwrap().clone()
    }

    fn record(&self, event: MetricEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Metrics for RecordingMetrics {
    fn token_generation(&self, provider: Option<&ProviderId>, outcome: &'static str) {
        self.record(MetricEvent::TokenGeneration { provider: provider.cloned(), outcome });
    }

    fn token_generation_phase(&self, provider: &ProviderId, phase: Phase, took: Duration) {
        let provider = provider.clone();
        self.record(MetricEvent::TokenGenerationPhase { provider, phase, took });
    }

    fn refresh(&self, result: RefreshResult, took: Duration) {
        self.record(MetricEvent::Refresh { result, took });
    }

    fn sessions_revoked(&self, reason: RevokeReason, count: u64) {
        self.record(MetricEvent::SessionsRevoked { reason, count });
    }

    fn provider_request(
        &self,
        provider: &ProviderId,
        endpoint: ProviderEndpoint,
        outcome: &'static str,
        took: Duration,
    ) {
        let provider = provider.clone();
        self.record(MetricEvent::ProviderRequest { provider, endpoint, outcome, took });
    }

    fn jwks_refresh(&self, provider: &ProviderId, outcome: &'static str) {
        self.record(MetricEvent::JwksRefresh { provider: provider.clone(), outcome });
    }

    fn provider_recheck(&self, provider: &ProviderId, result: RecheckResult) {
        self.record(MetricEvent::ProviderRecheck { provider: provider.clone(), result });
    }

    fn provider_token(&self, provider: Option<&ProviderId>, result: ProviderTokenResult) {
        self.record(MetricEvent::ProviderToken { provider: provider.cloned(), result });
    }

    fn introspection(&self, result: IntrospectionResult) {
        self.record(MetricEvent::Introspection { result });
    }

    fn token_revocation(&self, result: RevocationResult) {
        self.record(MetricEvent::TokenRevocation { result });
    }

    fn provider_circuit(&self, provider: &ProviderId, state: CircuitState) {
        self.record(MetricEvent::ProviderCircuit { provider: provider.clone(), state });
    }

    fn store_log(&self, bytes: u64) {
        self.record(MetricEvent::StoreLog { bytes });
    }

    fn store_query(&self, operation: StoreOperation, took: Duration) {
        self.record(MetricEvent::StoreQuery { operation, took });
    }
}
