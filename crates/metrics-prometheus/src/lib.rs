//! The Metrics port on Prometheus, and the series about HTTP requests.

mod audit;
mod http;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mintgate_domain::ErrorCode;
use mintgate_domain::model::{KeyId, ProviderId, RevokeReason};
use mintgate_domain::ports::{
    AuditState, CircuitState, IntrospectionResult, Metrics, Phase, PoolState, ProviderEndpoint,
    ProviderTokenResult, RecheckResult, RefreshResult, RevocationResult, StoreOperation,
};
use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use audit::AuditSeries;
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
    audit: AuditSeries,
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
            audit: AuditSeries::new(&registry)?,
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
        self.provider_circuit(provider, CircuitState::Closed);
    }

    /// Writes all series in the Prometheus text format 0.0.4, among them the store's connections
    /// `pool`, the age of each signing key in `keys`, and how many log lines were dropped so far.
    ///
    /// # Errors
    /// If a series cannot be written as text.
    pub fn render(
        &self,
        pool: PoolState,
        keys: &[(KeyId, Duration)],
        dropped_lines: u64,
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
        let known = self.log_lines_dropped.get();
        self.log_lines_dropped.inc_by(dropped_lines.saturating_sub(known));
        TextEncoder::new().encode_to_string(&self.registry.gather())
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
mod tests {
    use std::collections::BTreeSet;

    use mintgate_domain::model::Timestamp;

    use super::*;

    #[test]
    fn series_have_the_documented_names_and_labels() {
        let metrics = PrometheusMetrics::new("1.2.3", "abc").unwrap();
        metrics.token_generation(Some(&ProviderId::new("corp")), "INVALID_AUTH_CODE");
        metrics.token_generation(None, "UNKNOWN_PROVIDER");
        metrics.token_generation_phase(&ProviderId::new("corp"), Phase::Sign, Duration::ZERO);
        metrics.http_request("unmatched", "other", "404", Duration::ZERO);
        metrics.connection_opened();
        metrics.connection_opened();
        metrics.connection_closed();
        metrics.connection_shed(false);
        metrics.rate_limit("sign_ins", "refused");
        metrics.refresh(RefreshResult::Rotated, Duration::from_millis(3));
        metrics.refresh(RefreshResult::Reused, Duration::from_millis(3));
        metrics.sessions_revoked(RevokeReason::ExpiredIdle, 7);
        metrics.sessions_revoked(RevokeReason::ProviderLogout, 2);
        metrics.sessions_revoked(RevokeReason::ProviderRefused, 1);
        metrics.store_query(StoreOperation::Upstream, Duration::ZERO);
        let oldest = Some(Timestamp::from_unix(1_800_000_000));
        metrics.audit_state(AuditState { entries: 12, oldest, pruned_at: None });
        metrics.audit_queued(3);
        metrics.audit_dropped(2);
        metrics.store_query(StoreOperation::LinkIdentity, Duration::ZERO);
        metrics.provider_circuit(&ProviderId::new("corp"), CircuitState::Open);
        metrics.provider_recheck(&ProviderId::new("corp"), RecheckResult::Impossible);
        metrics.provider_token(None, ProviderTokenResult::Unknown);
        metrics.introspection(IntrospectionResult::Inactive);
        metrics.token_revocation(RevocationResult::Ended);
        let keys = [(KeyId::new("kid-1"), Duration::from_mins(2))];
        let text = metrics.render(PoolState { idle: 3, in_use: 1 }, &keys, 4).unwrap();
        for line in [
            r#"mintgate_token_generation_total{outcome="invalid_auth_code",provider="corp"} 1"#,
            r#"mintgate_token_generation_total{outcome="unknown_provider",provider="unknown"} 1"#,
            r#"mintgate_token_generation_duration_seconds_count{phase="sign",provider="corp"} 1"#,
            r#"mintgate_http_requests_total{method="other",route="unmatched",status="404"} 1"#,
            "mintgate_log_lines_dropped_total 4",
            "mintgate_audit_entries 12",
            "mintgate_audit_oldest_timestamp_seconds 1800000000",
            "mintgate_audit_last_pruned_timestamp_seconds 0",
            "mintgate_audit_queued_events 3",
            "mintgate_audit_dropped_events_total 2",
            "mintgate_http_connections 1",
            r#"mintgate_http_connections_shed_total{which="waiting"} 1"#,
            r#"mintgate_rate_limit_total{limit="sign_ins",outcome="refused"} 1"#,
            r#"mintgate_refresh_total{outcome="rotated"} 1"#,
            r#"mintgate_refresh_total{outcome="reused"} 1"#,
            "mintgate_refresh_duration_seconds_count 2",
            r#"mintgate_refresh_duration_seconds_bucket{le="0.0025"} 0"#,
            r#"mintgate_refresh_duration_seconds_bucket{le="0.005"} 2"#,
            r#"mintgate_sessions_revoked_total{reason="expired_idle"} 7"#,
            r#"mintgate_sessions_revoked_total{reason="provider_logout"} 2"#,
            r#"mintgate_sessions_revoked_total{reason="provider_refused"} 1"#,
            r#"mintgate_store_query_duration_seconds_count{operation="upstream"} 1"#,
            r#"mintgate_store_query_duration_seconds_count{operation="link_identity"} 1"#,
            r#"mintgate_signing_key_age_seconds{kid="kid-1"} 120"#,
            r#"mintgate_provider_circuit_state{provider="corp"} 2"#,
            r#"mintgate_provider_rechecks_total{outcome="impossible",provider="corp"} 1"#,
            r#"mintgate_provider_tokens_total{outcome="unknown",provider="unknown"} 1"#,
            r#"mintgate_store_pool_connections{state="idle"} 3"#,
            r#"mintgate_build_info{revision="abc",version="1.2.3"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn the_documented_table_has_exactly_these_series_and_labels() {
        let documented: BTreeSet<String> = include_str!("../../../docs/operations.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `mintgate_")?.split_once("` | "))
            .filter_map(|(name, rest)| {
                let labels = rest.split('|').next()?.replace(['`', ' '], "");
                (!name.contains('{')).then(|| format!("mintgate_{name}{{{labels}}}"))
            })
            .collect();
        let metrics = PrometheusMetrics::new("", "").unwrap();
        let mut known: BTreeSet<String> = series(&metrics);
        known.insert("mintgate_build_info{version,revision}".to_owned());
        assert_eq!(documented, known, "docs/operations.md and the series here differ");
    }

    /// The series of every field, as `name{labels}`.
    fn series(metrics: &PrometheusMetrics) -> BTreeSet<String> {
        let PrometheusMetrics {
            registry: _,
            rendering: _,
            token_generation,
            token_generation_duration,
            refresh,
            refresh_duration,
            sessions_revoked,
            provider_requests,
            provider_request_duration,
            jwks_refresh,
            provider_circuit,
            provider_rechecks,
            provider_tokens,
            introspections,
            token_revocations,
            store_query_duration,
            store_pool_connections,
            signing_key_age,
            log_lines_dropped,
            audit: AuditSeries { entries, oldest, pruned, queued, dropped },
            http:
                HttpSeries { requests, request_duration, connections, connections_shed, rate_limit },
        } = metrics;
        let collectors: [&dyn Collector; 27] = [
            token_generation,
            token_generation_duration,
            refresh,
            refresh_duration,
            sessions_revoked,
            provider_requests,
            provider_request_duration,
            jwks_refresh,
            provider_circuit,
            provider_rechecks,
            provider_tokens,
            introspections,
            token_revocations,
            store_query_duration,
            store_pool_connections,
            signing_key_age,
            log_lines_dropped,
            entries,
            oldest,
            pruned,
            queued,
            dropped,
            requests,
            request_duration,
            connections,
            connections_shed,
            rate_limit,
        ];
        let descriptions = collectors.into_iter().flat_map(Collector::desc);
        descriptions
            .map(|it| format!("{}{{{}}}", it.fq_name, it.variable_labels.join(",")))
            .collect()
    }

    /// The alerts, each with its name and the series in its expression.
    fn alerts() -> Vec<(String, BTreeSet<String>)> {
        let rules = include_str!("../../../deploy/prometheus/rules.yml");
        let mut alerts = vec![];
        for rule in rules.split("- alert: ").skip(1) {
            let (name, rest) = rule.split_once('\n').unwrap();
            let words = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let series = words.filter(|word| word.starts_with("mintgate_")).map(str::to_owned);
            alerts.push((name.to_owned(), series.collect()));
        }
        alerts
    }

    #[test]
    fn alerts_are_about_series_that_are_there_before_anything_has_happened() {
        let metrics = PrometheusMetrics::new("1", "r").unwrap();
        metrics.expect_provider(&ProviderId::new("corp"));
        metrics.expect_rate_limit("logins", "refused");
        let keys = [(KeyId::new("kid-1"), Duration::ZERO)];
        let text = metrics.render(PoolState { idle: 0, in_use: 0 }, &keys, 0).unwrap();
        assert!(alerts().len() > 5);
        for (alert, series) in alerts() {
            for name in series {
                let is_there = text.lines().any(|line| {
                    line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{']))
                });
                assert!(is_there, "{alert}: {name}");
            }
        }
        for line in [
            r#"mintgate_refresh_total{outcome="reused"} 0"#,
            r#"mintgate_sessions_revoked_total{reason="reuse"} 0"#,
            r#"mintgate_token_generation_total{outcome="success",provider="corp"} 0"#,
            r#"mintgate_token_generation_total{outcome="store_unavailable",provider="corp"} 0"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn every_alert_has_a_section_of_the_operations_page() {
        let page = include_str!("../../../docs/operations.md");
        let sections: BTreeSet<&str> =
            page.lines().filter_map(|line| line.strip_prefix("### Mintgate")).collect();
        let names: Vec<String> = alerts().into_iter().map(|(name, _)| name).collect();
        let alerts: BTreeSet<&str> =
            names.iter().filter_map(|name| name.strip_prefix("Mintgate")).collect();
        assert_eq!(sections, alerts);
    }

    #[test]
    fn a_removed_key_no_longer_has_a_series() {
        let metrics = PrometheusMetrics::new("", "").unwrap();
        let pool = PoolState { idle: 0, in_use: 0 };
        let age = |id| (KeyId::new(id), Duration::from_secs(1));
        let series = |keys: &[_]| {
            let text = metrics.render(pool, keys, 0).unwrap();
            let of_keys = |line: &&str| line.starts_with("mintgate_signing_key_age_seconds{");
            text.lines().filter(of_keys).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(series(&[age("old"), age("new")]).len(), 2);
        assert_eq!(series(&[age("new")]), [r#"mintgate_signing_key_age_seconds{kid="new"} 1"#]);
    }
}
