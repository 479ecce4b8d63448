//! What the listeners present, if they speak TLS.

use std::sync::Arc;

use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::Clock;
use mintgate_metrics_prometheus::PrometheusMetrics;
use mintgate_tls::{PairError, PairFiles, Served, Status};

use crate::settings::Settings;

/// What each listener presents, if it speaks TLS.
pub(crate) struct Certificates {
    pub(crate) public: Option<Arc<Served>>,
    pub(crate) ops: Option<Arc<Served>>,
}

impl Certificates {
    /// Presents what the files of the configuration hold, and shows which certificates these are.
    ///
    /// # Errors
    /// If a listener could not present them.
    pub(crate) fn open(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<PrometheusMetrics>,
    ) -> Result<Self, PairError> {
        let open = |listener: &'static str, files: &Option<PairFiles>| {
            let Some(files) = files.clone() else { return Ok(None) };
            let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
            let now = move || Timestamp::from(clock.now()).as_unix();
            let served = Served::open(files, now, move |Status { validity, is_current }| {
                metrics.certificate(listener, (validity.from, validity.until), is_current);
            });
            served.map(Arc::new).map(Some)
        };
        Ok(Self {
            public: open("public", &settings.server.tls)?,
            ops: open("ops", &settings.ops.tls)?,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.public.iter().chain(&self.ops)
    }
}
