//! The limit on how often one session is refreshed.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::SessionId;
use mintgate_domain::ports::{Clock, RefreshLimit};

use super::allowance::Allowance;
use super::network::Naming;

/// An allowance of each session: a page that refreshes without end asks the store no more often.
#[derive(Debug)]
pub(crate) struct SessionAllowance {
    pub(crate) per_minute: u32,
    pub(crate) sessions: Allowance,
    naming: Arc<Naming>,
}

impl SessionAllowance {
    /// Allows each session so many refreshes a minute; 0 allows any number.
    pub(crate) fn new(per_minute: u32, naming: &Arc<Naming>, clock: &Arc<dyn Clock>) -> Self {
        let is_shared = naming.0.is_some();
        let sessions = Allowance::new(per_minute, is_shared, Arc::clone(clock));
        Self { per_minute, sessions, naming: Arc::clone(naming) }
    }
}

impl RefreshLimit for SessionAllowance {
    fn take(&self, session: SessionId) -> Result<(), Duration> {
        self.sessions.take(self.naming.session(session))
    }
}
