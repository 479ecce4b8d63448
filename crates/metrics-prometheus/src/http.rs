//! The series about the public listener.

use std::time::Duration;

use mintgate_domain::model::Timestamp;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::{PrometheusMetrics, counter, register, seconds};

pub(crate) struct HttpSeries {
    pub(crate) requests: IntCounterVec,
    pub(crate) request_duration: HistogramVec,
    pub(crate) connections: IntGauge,
    pub(crate) connections_shed: IntCounterVec,
    pub(crate) rate_limit: IntCounterVec,
    pub(crate) limits_not_exchanged: IntCounter,
    pub(crate) limits_exchanged: IntGauge,
    pub(crate) revocation_streams: IntGauge,
    pub(crate) revocations_told: IntCounter,
}

impl HttpSeries {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: counter(
                registry,
                "mintgate_http_requests_total",
                "HTTP requests answered on the public listener.",
                &["route", "method", "status"],
            )?,
            request_duration: seconds(
                registry,
                "mintgate_http_request_duration_seconds",
                "Time HTTP requests took.",
                &["route", "method"],
            )?,
            connections: register(
                registry,
                IntGauge::new("mintgate_http_connections", "Connections of the public listener.")?,
            )?,
            connections_shed: counter(
                registry,
                "mintgate_http_connections_shed_total",
                "Connections of the public listener that were closed since there were too many.",
                &["which"],
            )?,
            rate_limit: counter(
                registry,
                "mintgate_rate_limit_total",
                "Requests that a limit on callers refused, or could not be applied to.",
                &["limit", "outcome"],
            )?,
            limits_not_exchanged: register(
                registry,
                IntCounter::new(
                    "mintgate_limits_exchange_failures_total",
                    "Times that what limits count could not be exchanged with the other replicas.",
                )?,
            )?,
            limits_exchanged: register(
                registry,
                IntGauge::new(
                    "mintgate_limits_last_exchange_timestamp_seconds",
                    "When what limits count was last exchanged; 0 if never, or if limits are not shared.",
                )?,
            )?,
            revocation_streams: register(
                registry,
                IntGauge::new(
                    "mintgate_revocation_streams",
                    "Streams about revocations that are open.",
                )?,
            )?,
            revocations_told: register(
                registry,
                IntCounter::new(
                    "mintgate_revocations_told_total",
                    "Entries of the log of revocations that clients were told of.",
                )?,
            )?,
        })
    }
}

impl PrometheusMetrics {
    /// Counts a request that the public listener answered with the HTTP status `status` after
    /// `took`. The caller MUST take `route` and `method` from small fixed sets.
    pub fn http_request(&self, route: &str, method: &str, status: &str, took: Duration) {
        self.http.requests.with_label_values(&[route, method, status]).inc();
        self.http.request_duration.with_label_values(&[route, method]).observe(took.as_secs_f64());
    }

    /// Counts a connection of the public listener that was opened.
    pub fn connection_opened(&self) {
        self.http.connections.inc();
    }

    /// Counts a connection of the public listener that is closed.
    pub fn connection_closed(&self) {
        self.http.connections.dec();
    }

    /// Counts a connection of the public listener that is closed since there are too many: the new
    /// one itself, or one that waited for its client, to make room.
    pub fn connection_shed(&self, is_new: bool) {
        let which = if is_new { "new" } else { "waiting" };
        self.http.connections_shed.with_label_values(&[which]).inc();
    }

    /// Counts a request that a limit on callers refused, or that was not limited because it came through
    /// an unknown proxy. The caller MUST take `limit` and `outcome` from small fixed sets.
    pub fn rate_limit(&self, limit: &str, outcome: &str) {
        self.http.rate_limit.with_label_values(&[limit, outcome]).inc();
    }

    /// What limits count was exchanged with the other processes on the store at this time.
    pub fn limits_exchanged(&self, at: Timestamp) {
        self.http.limits_exchanged.set(at.as_unix());
    }

    /// Counts that it could not be exchanged.
    pub fn limits_not_exchanged(&self) {
        self.http.limits_not_exchanged.inc();
    }

    /// Counts a stream about revocations that was opened, or one that is closed.
    pub fn revocation_stream(&self, is_open: bool) {
        self.http.revocation_streams.add(if is_open { 1 } else { -1 });
    }

    /// Counts entries of the log of revocations that a client was told of.
    pub fn revocations_told(&self, count: usize) {
        self.http.revocations_told.inc_by(count as u64);
    }

    /// Shows the series that [`rate_limit`](Self::rate_limit) counts under these labels, with 0 until
    /// then: a counter that begins at 1 has not increased as far as Prometheus can tell.
    pub fn expect_rate_limit(&self, limit: &str, outcome: &str) {
        self.http.rate_limit.with_label_values(&[limit, outcome]).inc_by(0);
    }
}
