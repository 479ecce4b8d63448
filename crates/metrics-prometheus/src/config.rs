//! The series about the configuration.

use prometheus::{IntGauge, IntGaugeVec, Registry};

use crate::{gauge, register};

/// Which configuration runs, and whether the last reload took it over.
pub(crate) struct ConfigSeries {
    pub(crate) is_current: IntGauge,
    pub(crate) taken_over: IntGauge,
    pub(crate) info: IntGaugeVec,
}

impl ConfigSeries {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let one = |name, help| register(registry, IntGauge::new(name, help)?);
        Ok(Self {
            is_current: one(
                "mintgate_config_last_reload_successful",
                "Whether the last reload of the configuration succeeded; 1 after the start.",
            )?,
            taken_over: one(
                "mintgate_config_last_reload_success_timestamp_seconds",
                "When the configuration that runs was read.",
            )?,
            info: gauge(
                registry,
                "mintgate_config_info",
                "Always 1; `hash` tells whether processes run with the same configuration.",
                &["hash"],
            )?,
        })
    }

    pub(crate) fn taken_over(&self, hash: &str, unix_seconds: i64) {
        self.is_current.set(1);
        self.taken_over.set(unix_seconds);
        self.info.reset();
        self.info.with_label_values(&[hash]).set(1);
    }

    pub(crate) fn refused(&self) {
        self.is_current.set(0);
    }
}

/// The certificates that listeners present.
pub(crate) struct CertificateSeries {
    pub(crate) from: IntGaugeVec,
    pub(crate) until: IntGaugeVec,
    pub(crate) is_current: IntGaugeVec,
}

impl CertificateSeries {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let by_listener = |name, help| gauge(registry, name, help, &["listener"]);
        Ok(Self {
            from: by_listener(
                "mintgate_tls_certificate_not_before_timestamp_seconds",
                "From when on the certificate that a listener presents is valid.",
            )?,
            until: by_listener(
                "mintgate_tls_certificate_not_after_timestamp_seconds",
                "Until when the certificate that a listener presents is valid.",
            )?,
            is_current: by_listener(
                "mintgate_tls_certificate_last_reload_successful",
                "Whether the certificate and key in a listener's files could be taken over when they were \
                 last looked at.",
            )?,
        })
    }
}
