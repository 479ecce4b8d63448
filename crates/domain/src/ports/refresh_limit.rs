use std::time::Duration;

use crate::model::SessionId;

/// Limits how often a session is refreshed.
pub trait RefreshLimit: Send + Sync {
    /// Takes one of a session's refreshes. It is asked only where a genuine token of the session was
    /// shown. MUST return at once.
    ///
    /// # Errors
    /// How long to wait for a refresh, if none is left.
    fn take(&self, session: SessionId) -> Result<(), Duration>;
}
