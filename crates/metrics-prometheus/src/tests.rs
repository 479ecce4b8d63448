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
    metrics.limits_not_exchanged();
    metrics.limits_exchanged(Timestamp::from_unix(11));
    metrics.revocation_stream(true);
    metrics.revocation_stream(true);
    metrics.revocation_stream(false);
    metrics.revocations_told(7);
    metrics.refresh(RefreshResult::Rotated, Duration::from_millis(3));
    metrics.refresh(RefreshResult::Reused, Duration::from_millis(3));
    metrics.sessions_revoked(RevokeReason::ExpiredIdle, 7);
    metrics.sessions_revoked(RevokeReason::ProviderLogout, 2);
    metrics.sessions_revoked(RevokeReason::ProviderRefused, 1);
    metrics.store_query(StoreOperation::Upstream, Duration::ZERO);
    let oldest = Some(Timestamp::from_unix(1_800_000_000));
    metrics.audit_state(AuditState { entries: 12, oldest, pruned_at: None });
    metrics.configuration_taken_over("0a", Timestamp::from_unix(7));
    metrics.configuration_taken_over("0b", Timestamp::from_unix(9));
    metrics.configuration_refused();
    metrics.audit_queued(3);
    metrics.audit_dropped(2);
    metrics.store_log(8);
    metrics.store_query(StoreOperation::LinkIdentity, Duration::ZERO);
    metrics.provider_circuit(&ProviderId::new("corp"), CircuitState::Open);
    metrics.provider_recheck(&ProviderId::new("corp"), RecheckResult::Impossible);
    metrics.provider_token(None, ProviderTokenResult::Unknown);
    metrics.introspection(IntrospectionResult::Inactive);
    metrics.token_revocation(RevocationResult::Ended);
    let keys = [(KeyId::new("kid-1"), Duration::from_mins(2))];
    let text = metrics
        .render(PoolState { idle: 3, in_use: 1 }, &keys, Dropped { log_lines: 4, spans: 5 })
        .unwrap();
    assert!(!text.contains("hash=\"0a\""), "one configuration runs");
    for line in [
        r#"mintgate_token_generation_total{outcome="invalid_auth_code",provider="corp"} 1"#,
        r#"mintgate_token_generation_total{outcome="unknown_provider",provider="unknown"} 1"#,
        r#"mintgate_token_generation_duration_seconds_count{phase="sign",provider="corp"} 1"#,
        r#"mintgate_http_requests_total{method="other",route="unmatched",status="404"} 1"#,
        "mintgate_log_lines_dropped_total 4",
        "mintgate_trace_spans_dropped_total 5",
        "mintgate_config_last_reload_successful 0",
        "mintgate_config_last_reload_success_timestamp_seconds 9",
        r#"mintgate_config_info{hash="0b"} 1"#,
        "mintgate_audit_entries 12",
        "mintgate_audit_oldest_timestamp_seconds 1800000000",
        "mintgate_audit_last_pruned_timestamp_seconds 0",
        "mintgate_audit_queued_events 3",
        "mintgate_audit_dropped_events_total 2",
        "mintgate_store_wal_bytes 8",
        "mintgate_http_connections 1",
        r#"mintgate_http_connections_shed_total{which="waiting"} 1"#,
        r#"mintgate_rate_limit_total{limit="sign_ins",outcome="refused"} 1"#,
        "mintgate_limits_exchange_failures_total 1",
        "mintgate_limits_last_exchange_timestamp_seconds 11",
        "mintgate_revocation_streams 1",
        "mintgate_revocations_told_total 7",
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

#[test]
fn the_dashboard_shows_no_series_that_does_not_exist() {
    let metrics = PrometheusMetrics::new("", "").unwrap();
    let of_fields = series(&metrics);
    let mut known: BTreeSet<&str> =
        of_fields.iter().filter_map(|it| it.split('{').next()).collect();
    known.insert("mintgate_build_info");
    let dashboard = include_str!("../../../deploy/grafana/mintgate.json");
    let words = dashboard.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let shown: BTreeSet<&str> = words
        .filter(|word| word.starts_with("mintgate_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .collect();
    let unknown: Vec<_> = shown.difference(&known).collect();
    assert_eq!(unknown, [&""; 0]);
    let missing: Vec<_> = known.difference(&shown).collect();
    assert_eq!(missing, [&""; 0], "series that no panel shows");
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
        sealed_before,
        store_log,
        spans_dropped,
        config: ConfigSeries { is_current, taken_over, info },
        certificates: CertificateSeries { from, until, is_current: is_presented },
        audit: AuditSeries { entries, oldest, pruned, queued, dropped },
        http:
            HttpSeries {
                requests,
                request_duration,
                connections,
                connections_shed,
                rate_limit,
                limits_not_exchanged,
                limits_exchanged,
                revocation_streams,
                revocations_told,
            },
    } = metrics;
    let collectors: [&dyn Collector; 40] = [
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
        sealed_before,
        store_log,
        spans_dropped,
        is_current,
        taken_over,
        info,
        from,
        until,
        is_presented,
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
        limits_not_exchanged,
        limits_exchanged,
        revocation_streams,
        revocations_told,
    ];
    let descriptions = collectors.into_iter().flat_map(Collector::desc);
    descriptions.map(|it| format!("{}{{{}}}", it.fq_name, it.variable_labels.join(","))).collect()
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
    metrics.certificate("public", (0, 1), true);
    let keys = [(KeyId::new("kid-1"), Duration::ZERO)];
    let text = metrics.render(PoolState { idle: 0, in_use: 0 }, &keys, Dropped::default()).unwrap();
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
        r#"mintgate_jwks_refresh_total{outcome="unreachable",provider="corp"} 0"#,
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
        let text = metrics.render(pool, keys, Dropped::default()).unwrap();
        let of_keys = |line: &&str| line.starts_with("mintgate_signing_key_age_seconds{");
        text.lines().filter(of_keys).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(series(&[age("old"), age("new")]).len(), 2);
    assert_eq!(series(&[age("new")]), [r#"mintgate_signing_key_age_seconds{kid="new"} 1"#]);
}
