//! The background task by which the limits of all processes on the store count together.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::ReplicaId;
use mintgate_domain::ports::{Clock, Entropy as _, SharedCounts};
use mintgate_http_actix::{CurrentState, SharedLimits};
use mintgate_metrics_prometheus::PrometheusMetrics;

use super::{BackgroundTask, StopSignal};
use crate::system::OsEntropy;

/// Exchanges what limits have counted, if they are shared, and says in the log when this begins or ceases to
/// fail.
pub(crate) struct LimitExchange {
    limits: SharedLimits,
    clock: Arc<dyn Clock>,
    metrics: Arc<PrometheusMetrics>,
    failing: bool,
}

impl LimitExchange {
    /// Of the limits of this state, as a process that the others do not know yet.
    pub(crate) fn new(
        state: Arc<CurrentState>,
        counts: Arc<dyn SharedCounts>,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<PrometheusMetrics>,
    ) -> Self {
        let mut replica = ReplicaId::default();
        OsEntropy.fill(&mut replica);
        let limits = SharedLimits::new(state, counts, Arc::clone(clock), replica);
        Self { limits, clock: Arc::clone(clock), metrics: Arc::clone(metrics), failing: false }
    }
}

impl BackgroundTask for LimitExchange {
    const NAME: &'static str = "shared limits";

    async fn round(&mut self, _: &mut StopSignal) {
        let Some(exchanged) = self.limits.exchange().await else {
            self.failing = false;
            return;
        };
        match &exchanged {
            Ok(()) => self.metrics.limits_exchanged(self.clock.now().into()),
            Err(_) => self.metrics.limits_not_exchanged(),
        }
        match &exchanged {
            Err(error) if !self.failing => {
                let error = mintgate_domain::chain(error);
                tracing::warn!(%error, "the limits on callers cannot be shared at present; this process counts for itself");
            }
            Ok(()) if self.failing => tracing::info!("the limits on callers are shared again"),
            _ => {}
        }
        self.failing = exchanged.is_err();
    }

    fn pause(&self) -> Duration {
        SharedLimits::EVERY
    }
}
