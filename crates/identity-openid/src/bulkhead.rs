//! A limit to the calls at once, with a queue that is bounded in length and in time.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many may wait for each one that is let in.
const QUEUE_PER_PLACE: usize = 16;

/// Lets in so many at once.
pub(crate) struct Gate {
    places: Semaphore,
    queue: Semaphore,
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// The queue is full.
    Away,
    /// It was not their turn in time.
    Late,
}

impl Gate {
    /// For so many at once; at least one.
    pub(crate) fn new(places: usize) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        let queue = places.saturating_mul(QUEUE_PER_PLACE).min(Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(places), queue: Semaphore::new(queue) }
    }

    /// A place, if one is free and nobody waits for it.
    pub(crate) fn try_enter(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// Waits for a place, for so long at most; first come, first served.
    pub(crate) async fn enter(&self, max_wait: Duration) -> Result<SemaphorePermit<'_>, Turned> {
        let _queued = self.queue.try_acquire().map_err(|_| Turned::Away)?;
        match tokio::time::timeout(max_wait, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Turned::Late),
        }
    }
}
