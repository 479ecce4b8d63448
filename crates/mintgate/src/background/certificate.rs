//! The background task that notices when another certificate is in the files of the listener.

use std::sync::Arc;
use std::time::Duration;

use super::{BackgroundTask, StopSignal};
use crate::wiring::Adapters;

/// Looks at the files of the certificate, and presents what is in them if it fits.
pub(crate) struct CertificateCare(pub(crate) Arc<Adapters>);

impl BackgroundTask for CertificateCare {
    const NAME: &'static str = "certificate care";

    async fn round(&mut self, _: &mut StopSignal) {
        let adapters = Arc::clone(&self.0);
        // A file system can take its time.
        let looking = tokio::task::spawn_blocking(move || adapters.look_at_certificate());
        if looking.await.is_err() {
            tracing::error!("the certificate could not be looked at");
        }
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(5)
    }
}
