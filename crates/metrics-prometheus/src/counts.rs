//! The numbers that people look at without Prometheus.

use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{AuditState, CircuitState, CountReader, Counts};
use prometheus::core::Collector;
use prometheus::proto::Metric;

use crate::PrometheusMetrics;

impl CountReader for PrometheusMetrics {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for metric in of(&self.token_generation) {
            let key = (label(&metric, "provider"), label(&metric, "outcome"));
            counts.sign_ins.insert(key, whole(metric.get_counter().get_value()));
        }
        for metric in of(&self.refresh) {
            let count = whole(metric.get_counter().get_value());
            counts.refreshes.insert(label(&metric, "outcome"), count);
        }
        for metric in of(&self.provider_circuit) {
            let state = match whole(metric.get_gauge().get_value()) {
                0 => CircuitState::Closed,
                1 => CircuitState::HalfOpen,
                _ => CircuitState::Open,
            };
            counts.circuits.insert(label(&metric, "provider"), state);
        }
        let time = |seconds: i64| (seconds > 0).then(|| Timestamp::from_unix(seconds));
        let audit = &self.audit;
        counts.audit = AuditState {
            entries: audit.entries.get().try_into().unwrap_or_default(),
            oldest: time(audit.oldest.get()),
            pruned_at: time(audit.pruned.get()),
        };
        counts.audit_queued = audit.queued.get().try_into().unwrap_or_default();
        counts.audit_dropped = audit.dropped.get();
        counts
    }
}

/// Every series of a family.
fn of(family: &impl Collector) -> Vec<Metric> {
    family.collect().into_iter().flat_map(|mut family| family.take_metric()).collect()
}

fn label(metric: &Metric, name: &str) -> String {
    let found = metric.get_label().iter().find(|label| label.name() == name);
    found.map(|label| label.value().to_owned()).unwrap_or_default()
}

/// The value of a series that counts whole things.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters of whole things, far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mintgate_domain::model::ProviderId;
    use mintgate_domain::ports::{Metrics, RefreshResult};

    use super::*;

    #[test]
    fn what_was_counted_is_read_and_what_has_not_happened_is_zero() {
        let metrics = PrometheusMetrics::new("", "").unwrap();
        let corp = ProviderId::new("corp");
        metrics.expect_provider(&corp);
        metrics.token_generation(Some(&corp), "INVALID_AUTH_CODE");
        metrics.token_generation(None, "UNKNOWN_PROVIDER");
        metrics.refresh(RefreshResult::Reused, Duration::ZERO);
        metrics.provider_circuit(&corp, CircuitState::Open);
        let oldest = Some(Timestamp::from_unix(1_800_000_000));
        metrics.audit_state(AuditState { entries: 12, oldest, pruned_at: None });
        metrics.audit_queued(3);
        metrics.audit_dropped(2);
        let counts = metrics.counts();
        let sign_ins = |provider: &str, outcome: &str| {
            counts.sign_ins.get(&(provider.to_owned(), outcome.to_owned())).copied()
        };
        assert_eq!(sign_ins("corp", "invalid_auth_code"), Some(1));
        assert_eq!(sign_ins("corp", "success"), Some(0));
        assert_eq!(sign_ins("unknown", "unknown_provider"), Some(1));
        assert_eq!(counts.refreshes["reused"], 1);
        assert_eq!(counts.refreshes.len(), RefreshResult::ALL.len());
        assert_eq!(counts.circuits["corp"], CircuitState::Open);
        assert_eq!(counts.audit, AuditState { entries: 12, oldest, pruned_at: None });
        assert_eq!((counts.audit_queued, counts.audit_dropped), (3, 2));
    }
}
