//! The Metrics port on Prometheus, and the series about HTTP requests.

mod audit;
mod config;
mod counts;
mod http;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mintgate_domain::model::{KeyId, ProviderId, RevokeReason, Timestamp};
use mintgate_domain::ports::{
    AuditState, CircuitState, IntrospectionResult, Metrics, Phase, PoolState, ProviderEndpoint,
    ProviderTokenResult, RecheckResult, RefreshResult, RevocationResult, StoreOperation,
};
use mintgate_domain::{ErrorCode, ProviderRegistry};
use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use audit::AuditSeries;
use config::{CertificateSeries, ConfigSeries};
use http::HttpSeries;

/// Histogram bounds in seconds: from the time one signature takes to the time after which a call to
/// a provider is given up.
const SECONDS_BUCKETS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The refusals of a sign-in with a provider that is configured.
const SIGN_IN_REFUSALS: [ErrorCode; 15] = [
    ErrorCode::RedirectUriNotAllowed,
    ErrorCode::InvalidAuthCode,
    ErrorCode::InvalidIdToken,
    ErrorCode::InvalidState,
    ErrorCode::AccessDenied,
    ErrorCode::IdempotencyKeyReused,
    ErrorCode::TokenGenerationFailed,
    ErrorCode::TokenTooLarge,
    ErrorCode::InternalError,
    ErrorCode::ProviderError,
    ErrorCode::ProviderUnavailable,
    ErrorCode::ProviderTimeout,
    ErrorCode::StoreUnavailable,
    ErrorCode::RolesUnavailable,
    ErrorCode::Overloaded,
];

/// What can come of a fetch of a provider's keys.
const JWKS_OUTCOMES: [&str; 8] = [
    "success",
    "blocked",
    "redirect",
    "too_large",
    "http_error",
    "malformed",
    "unreachable",
    "timeout",
];

/// All series of this process, in a registry of their own.
pub struct PrometheusMetrics {
    registry: Registry,
    token_generation: IntCounterVec,
    token_generation_duration: HistogramVec,
    refresh: IntCounterVec,
    refresh_duration: HistogramVec,
    sessions_revoked: IntCounterVec,
    provider_requests: IntCounterVec,
    provider_request_duration: HistogramVec,
    jwks_refresh: IntCounterVec,
    provider_circuit: IntGaugeVec,
    provider_rechecks: IntCounterVec,
    provider_tokens: IntCounterVec,
    introspections: IntCounterVec,
    token_revocations: IntCounterVec,
    store_query_duration: HistogramVec,
    store_pool_connections: IntGaugeVec,
    signing_key_age: IntGaugeVec,
    log_lines_dropped: IntCounter,
    spans_dropped: IntCounter,
    config: ConfigSeries,
    certificates: CertificateSeries,
    audit: AuditSeries,
    sealed_before: IntGauge,
    store_log: IntGauge,
    /// Held while `render` resets the series of the signing keys and reads them back.
    rendering: Mutex<()>,
    http: HttpSeries,
}

impl PrometheusMetrics {
    /// Registers every series. `version` and `revision` (the commit this was built from) become the
    /// labels of `mintgate_build_info`.
    ///
    /// # Errors
    /// If two series have the same name.
    #[expect(clippy::too_many_lines, reason = "it registers every series once")]
    pub fn new(version: &str, revision: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name, help, labels: &[&str]| counter(&registry, name, help, labels);
        let seconds = |name, help, labels: &[&str]| seconds(&registry, name, help, labels);
        let gauge = |name, help, labels: &[&str]| gauge(&registry, name, help, labels);
        let metrics = Self {
            token_generation: counter(
                "mintgate_token_generation_total",
                "Requests for tokens, by provider and outcome.",
                &["provider", "outcome"],
            )?,
            token_generation_duration: seconds(
                "mintgate_token_generation_duration_seconds",
                "Time to issue tokens, by provider and phase.",
                &["provider", "phase"],
            )?,
            refresh: counter("mintgate_refresh_total", "Refreshes, by outcome.", &["outcome"])?,
            refresh_duration: seconds(
                "mintgate_refresh_duration_seconds",
                "Time a refresh took.",
                &[],
            )?,
            sessions_revoked: counter(
                "mintgate_sessions_revoked_total",
                "Sessions that ended, by reason.",
                &["reason"],
            )?,
            provider_requests: counter(
                "mintgate_provider_requests_total",
                "Requests made to identity providers.",
                &["provider", "endpoint", "outcome"],
            )?,
            provider_request_duration: seconds(
                "mintgate_provider_request_duration_seconds",
                "Time identity providers took to answer.",
                &["provider", "endpoint"],
            )?,
            jwks_refresh: counter(
                "mintgate_jwks_refresh_total",
                "Fetches of a provider's JWKS.",
                &["provider", "outcome"],
            )?,
            provider_circuit: gauge(
                "mintgate_provider_circuit_state",
                "What a provider's circuit breaker lets through: 0 everything, 1 one call to try, \
                 2 nothing.",
                &["provider"],
            )?,
            provider_rechecks: counter(
                "mintgate_provider_rechecks_total",
                "Times a provider was to be asked again about somebody.",
                &["provider", "outcome"],
            )?,
            provider_tokens: counter(
                "mintgate_provider_tokens_total",
                "Requests for providers' access tokens.",
                &["provider", "outcome"],
            )?,
            introspections: counter(
                "mintgate_introspections_total",
                "Questions of back ends about tokens of ours.",
                &["outcome"],
            )?,
            token_revocations: counter(
                "mintgate_token_revocations_total",
                "Orders of back ends to revoke tokens of ours.",
                &["outcome"],
            )?,
            store_query_duration: seconds(
                "mintgate_store_query_duration_seconds",
                "Time store operations took.",
                &["operation"],
            )?,
            store_pool_connections: gauge(
                "mintgate_store_pool_connections",
                "Connections to the store.",
                &["state"],
            )?,
            signing_key_age: gauge(
                "mintgate_signing_key_age_seconds",
                "Time since a signing key was made; one series for each key there is.",
                &["kid"],
            )?,
            log_lines_dropped: register(
                &registry,
                IntCounter::new(
                    "mintgate_log_lines_dropped_total",
                    "Lines of the log that could not be written.",
                )?,
            )?,
            spans_dropped: register(
                &registry,
                IntCounter::new(
                    "mintgate_trace_spans_dropped_total",
                    "Spans that the OpenTelemetry collector did not take.",
                )?,
            )?,
            config: ConfigSeries::new(&registry)?,
            certificates: CertificateSeries::new(&registry)?,
            audit: AuditSeries::new(&registry)?,
            store_log: register(
                &registry,
                IntGauge::new(
                    "mintgate_store_wal_bytes",
                    "Size of the write-ahead log of the SQLite database; 0 with Postgres.",
                )?,
            )?,
            sealed_before: register(
                &registry,
                IntGauge::new(
                    "mintgate_sealed_under_former_keys",
                    "Secrets in the store that are sealed under a former key-encryption key, by the last complete look of this process.",
                )?,
            )?,
            rendering: Mutex::default(),
            http: HttpSeries::new(&registry)?,
            registry: registry.clone(),
        };
        // A counter that begins at 1 has not increased as far as Prometheus can tell.
        for result in RefreshResult::ALL {
            metrics.refresh.with_label_values(&[result.name()]).inc_by(0);
        }
        metrics.refresh_duration.with_label_values::<&str>(&[]);
        for reason in RevokeReason::ALL {
            metrics.sessions_revoked(reason, 0);
        }
        for which in ["new", "waiting"] {
            metrics.http.connections_shed.with_label_values(&[which]).inc_by(0);
        }
        gauge("mintgate_build_info", "What is running.", &["version", "revision"])?
            .with_label_values(&[version, revision])
            .set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// Shows the series of a provider that counters and alerts are about, with 0 until something happens.
    pub fn expect_provider(&self, provider: &ProviderId) {
        let codes = SIGN_IN_REFUSALS.map(|code| code.as_str().to_ascii_lowercase());
        for outcome in codes.iter().map(String::as_str).chain(["success"]) {
            self.token_generation.with_label_values(&[provider.as_str(), outcome]).inc_by(0);
        }
        for outcome in JWKS_OUTCOMES {
            self.jwks_refresh.with_label_values(&[provider.as_str(), outcome]).inc_by(0);
        }
        self.provider_circuit(provider, CircuitState::Closed);
    }

    /// Shows the providers that run now and did not run `before`, and no longer the circuits of those that
    /// have ended. Their counters stay.
    pub fn show_providers(&self, now: &ProviderRegistry, before: &ProviderRegistry) {
        for ended in before.not_in(now) {
            // There is nothing to remove if it was never shown.
            let _ = self.provider_circuit.remove_label_values(&[ended.as_str()]);
        }
        now.not_in(before).for_each(|begun| self.expect_provider(begun));
    }

    /// Writes all series in the Prometheus text format 0.0.4, among them the store's connections
    /// `pool`, the age of each signing key in `keys`, and what was `dropped` so far.
    ///
    /// # Errors
    /// If a series cannot be written as text.
    pub fn render(
        &self,
        pool: PoolState,
        keys: &[(KeyId, Duration)],
        dropped: Dropped,
    ) -> prometheus::Result<String> {
        let _rendering = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        self.signing_key_age.reset();
        for (id, age) in keys {
            let seconds = age.as_secs().try_into().unwrap_or(i64::MAX);
            self.signing_key_age.with_label_values(&[id.as_str()]).set(seconds);
        }
        let connections = |state| self.store_pool_connections.with_label_values(&[state]);
        connections("idle").set(pool.idle.into());
        connections("in_use").set(pool.in_use.into());
        for (counter, now) in
            [(&self.log_lines_dropped, dropped.log_lines), (&self.spans_dropped, dropped.spans)]
        {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// What could not be written or sent since the start of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dropped {
    /// The lines of the log that could not be written.
    pub log_lines: u64,
    /// The spans that the OpenTelemetry collector did not take.
    pub spans: u64,
}

impl PrometheusMetrics {
    /// The configuration with this digest runs since `at`.
    pub fn configuration_taken_over(&self, hash: &str, at: Timestamp) {
        self.config.taken_over(hash, at.as_unix());
    }

    /// A listener presents a certificate that is valid from `from` until `until`. `is_current` says whether
    /// what its files held when they were last looked at could be taken over.
    pub fn certificate(&self, listener: &str, (from, until): (i64, i64), is_current: bool) {
        self.certificates.from.with_label_values(&[listener]).set(from);
        self.certificates.until.with_label_values(&[listener]).set(until);
        self.certificates.is_current.with_label_values(&[listener]).set(is_current.into());
    }

    /// A configuration was not taken over.
    pub fn configuration_refused(&self) {
        self.config.refused();
    }
}

fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn seconds(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec());
    register(registry, HistogramVec::new(opts, labels)?)
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    series: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(series.clone()))?;
    Ok(series)
}

impl Metrics for PrometheusMetrics {
    fn token_generation(&self, provider: Option<&ProviderId>, outcome: &'static str) {
        let provider = provider.map_or("unknown", ProviderId::as_str);
        let outcome = outcome.to_ascii_lowercase();
        self.token_generation.with_label_values(&[provider, &outcome]).inc();
    }

    fn token_generation_phase(&self, provider: &ProviderId, phase: Phase, took: Duration) {
        let phase = match phase {
            Phase::Exchange => "exchange",
            Phase::Verify => "verify",
            Phase::Sign => "sign",
            Phase::Store => "store",
            Phase::Total => "total",
        };
        self.token_generation_duration
            .with_label_values(&[provider.as_str(), phase])
            .observe(took.as_secs_f64());
    }

    fn refresh(&self, result: RefreshResult, took: Duration) {
        self.refresh.with_label_values(&[result.name()]).inc();
        self.refresh_duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    fn sessions_revoked(&self, reason: RevokeReason, count: u64) {
        self.sessions_revoked.with_label_values(&[reason.name()]).inc_by(count);
    }

    fn provider_request(
        &self,
        provider: &ProviderId,
        endpoint: ProviderEndpoint,
        outcome: &'static str,
        took: Duration,
    ) {
        let endpoint = match endpoint {
            ProviderEndpoint::Discovery => "discovery",
            ProviderEndpoint::Jwks => "jwks",
            ProviderEndpoint::Token => "token",
            ProviderEndpoint::Userinfo => "userinfo",
        };
        self.provider_requests.with_label_values(&[provider.as_str(), endpoint, outcome]).inc();
        self.provider_request_duration
            .with_label_values(&[provider.as_str(), endpoint])
            .observe(took.as_secs_f64());
    }

    fn jwks_refresh(&self, provider: &ProviderId, outcome: &'static str) {
        self.jwks_refresh.with_label_values(&[provider.as_str(), outcome]).inc();
    }

    fn provider_recheck(&self, provider: &ProviderId, result: RecheckResult) {
        self.provider_rechecks.with_label_values(&[provider.as_str(), result.name()]).inc();
    }

    fn provider_token(&self, provider: Option<&ProviderId>, result: ProviderTokenResult) {
        let provider = provider.map_or("unknown", ProviderId::as_str);
        self.provider_tokens.with_label_values(&[provider, result.name()]).inc();
    }

    fn introspection(&self, result: IntrospectionResult) {
        self.introspections.with_label_values(&[result.name()]).inc();
    }

    fn token_revocation(&self, result: RevocationResult) {
        self.token_revocations.with_label_values(&[result.name()]).inc();
    }

    fn provider_circuit(&self, provider: &ProviderId, state: CircuitState) {
        let state = match state {
            CircuitState::Closed => 0,
            CircuitState::HalfOpen => 1,
            CircuitState::Open => 2,
        };
        self.provider_circuit.with_label_values(&[provider.as_str()]).set(state);
    }

    fn audit_state(&self, state: AuditState) {
        self.audit.show(state);
    }

    fn audit_queued(&self, count: u64) {
        self.audit.queued.set(count.try_into().unwrap_or(i64::MAX));
    }

    fn store_log(&self, bytes: u64) {
        self.store_log.set(bytes.try_into().unwrap_or(i64::MAX));
    }

    fn sealed_under_former_keys(&self, count: u64) {
        self.sealed_before.set(count.try_into().unwrap_or(i64::MAX));
    }

    fn audit_dropped(&self, count: u64) {
        self.audit.dropped.inc_by(count);
    }

    fn store_query(&self, operation: StoreOperation, took: Duration) {
        self.store_query_duration
            .with_label_values(&[operation.name()])
            .observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests;
