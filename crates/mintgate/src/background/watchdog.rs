//! The background task by which the service manager knows that the process lives.

use std::sync::Arc;
use std::time::Duration;

use mintgate_service_manager::ServiceManager;

use super::{BackgroundTask, StopSignal};

/// Tells the service manager that the runtime which use cases run on makes progress.
pub(crate) struct Watchdog {
    pub(crate) manager: Arc<ServiceManager>,
    pub(crate) every: Duration,
}

impl BackgroundTask for Watchdog {
    const NAME: &'static str = "watchdog";

    async fn round(&mut self, _: &mut StopSignal) {
        self.manager.alive();
    }

    fn pause(&self) -> Duration {
        self.every
    }
}
