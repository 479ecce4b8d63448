//! A limit on concurrent calls, with a queue that is bounded in length and in time.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many callers may wait for each call that may run.
const QUEUE_PER_CALL: usize = 16;

/// Limits how many calls run at once and how many wait.
pub(crate) struct Bulkhead {
    running: Semaphore,
    waiting: Semaphore,
}

/// The reason why a call got no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueError {
    /// As many calls wait as may wait.
    Full,
    /// The call waited for the longest time that is allowed.
    TimedOut,
}

impl Bulkhead {
    /// Lets `max_concurrent` calls run at once, at least one, and 16 times as many wait.
    pub(crate) fn new(max_concurrent: usize) -> Self {
        let running = max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        let waiting = running.saturating_mul(QUEUE_PER_CALL).min(Semaphore::MAX_PERMITS);
        Self { running: Semaphore::new(running), waiting: Semaphore::new(waiting) }
    }

    /// Returns a permit, which allows the call to run until it is dropped. Waits up to `max_wait`,
    /// first come, first served.
    pub(crate) async fn acquire(
        &self,
        max_wait: Duration,
    ) -> Result<SemaphorePermit<'_>, QueueError> {
        if let Ok(permit) = self.running.try_acquire() {
            return Ok(permit);
        }
        let _queued = self.waiting.try_acquire().map_err(|_| QueueError::Full)?;
        match tokio::time::timeout(max_wait, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(QueueError::TimedOut),
        }
    }
}
