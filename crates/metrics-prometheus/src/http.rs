//! The series about the public listener.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGauge, Registry};

use crate::{PrometheusMetrics, counter, register, seconds};

pub(crate) struct HttpSeries {
    pub(crate) requests: IntCounterVec,
    pub(crate) request_duration: HistogramVec,
    pub(crate) connections: IntGauge,
    pub(crate) connections_shed: IntCounterVec,
    pub(crate) sign_in_limit: IntCounterVec,
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
            sign_in_limit: counter(
                registry,
                "mintgate_sign_in_limit_total",
                "Sign-ins that the limit on refused ones refused, or could not be applied to.",
                &["outcome"],
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

    /// Counts a sign-in that was not tried because of the limit on refused ones, or one that was not
    /// limited because it came through an unknown proxy. `outcome` is a name of a small fixed set.
    pub fn sign_in_limit(&self, outcome: &str) {
        self.http.sign_in_limit.with_label_values(&[outcome]).inc();
    }
}
