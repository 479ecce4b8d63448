//! The limit on how often one session is refreshed.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::SessionId;
use mintgate_domain::ports::{Clock, RefreshLimit};

use super::allowance::Allowance;

/// An allowance of each session: a page that refreshes without end asks the store no more often.
#[derive(Debug)]
pub(crate) struct SessionAllowance {
    pub(crate) per_minute: u32,
    sessions: Allowance<SessionId>,
}

impl SessionAllowance {
    /// Allows each session so many refreshes a minute; 0 allows any number.
    pub(crate) fn new(per_minute: u32, clock: &Arc<dyn Clock>) -> Self {
        Self { per_minute, sessions: Allowance::new(per_minute, Arc::clone(clock)) }
    }
}

impl RefreshLimit for SessionAllowance {
    fn take(&self, session: SessionId) -> Result<(), Duration> {
        self.sessions.take(&session)
    }
}
