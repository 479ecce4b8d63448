//! The clean-up of the store: by one process at a time, in small steps, in rounds of bounded length.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{RevokeReason, SessionId, Timestamp};
use crate::ports::{
    Clock, Duties, Duty, Housekeeping, Metrics, PeopleImport, StoreError, SweepStep, Swept,
};

/// How many sessions one step looks at.
const STEP: u32 = 500;
/// For how long no other process cleans up if this one dies in the middle of a round.
const LEASE: Duration = Duration::from_mins(5);
/// The longest round, well below the lease; the next round goes on where this one stopped.
const MAX_ROUND: Duration = Duration::from_mins(4);

/// The ports that [`CleanUp`] calls.
pub struct CleanUpPorts {
    /// The clean-up of the sessions and of what is kept with them.
    pub housekeeping: Arc<dyn Housekeeping>,
    /// Whose bans end.
    pub people: Arc<dyn PeopleImport>,
    /// Which process cleans up.
    pub duties: Arc<dyn Duties>,
    /// The counters of sessions that ended.
    pub metrics: Arc<dyn Metrics>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
}

/// Ends sessions that have expired and deletes those that ended long ago; ends bans whose time is over.
pub struct CleanUp {
    ports: CleanUpPorts,
    every: Duration,
    keep_ended: Duration,
    /// The session after which the next round goes on, if the last one did not reach the end.
    next: Option<SessionId>,
}

impl CleanUp {
    /// Cleans up once in `every`; ended sessions are kept for `keep_ended`.
    pub fn new(ports: CleanUpPorts, every: Duration, keep_ended: Duration) -> Self {
        Self { ports, every, keep_ended, next: None }
    }

    /// The time from one round to the next.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// One round, unless another process has the duty. `goes_on` waits between two steps, so that requests
    /// come first, and says whether there is to be another. What was done is added to `done`, after an
    /// error too.
    ///
    /// # Errors
    /// [`StoreError`]; the next round goes on with the step that failed.
    pub async fn round<F: Future<Output = bool>>(
        &mut self,
        goes_on: impl Fn() -> F,
        done: &mut Swept,
    ) -> Result<(), StoreError> {
        let duties = Arc::clone(&self.ports.duties);
        if !duties.claim_duty(Duty::Sweep, self.now(), LEASE, self.every).await? {
            return Ok(());
        }
        let swept = self.steps(goes_on, done).await;
        // After an error too: otherwise no process could claim the duty before the lease ends.
        let ended = duties.end_duty(Duty::Sweep, self.now()).await;
        swept.and(ended)
    }

    async fn steps<F: Future<Output = bool>>(
        &mut self,
        goes_on: impl Fn() -> F,
        done: &mut Swept,
    ) -> Result<(), StoreError> {
        let started = self.ports.clock.monotonic();
        self.ports.people.end_bans(self.now(), STEP).await?;
        loop {
            let step = SweepStep {
                after: self.next,
                limit: STEP,
                now: self.now(),
                keep_ended: self.keep_ended,
            };
            let swept = self.ports.housekeeping.sweep(&step).await?;
            for (reason, count, sum) in [
                (RevokeReason::ExpiredIdle, swept.expired_idle, &mut done.expired_idle),
                (RevokeReason::ExpiredAbsolute, swept.expired_absolute, &mut done.expired_absolute),
            ] {
                if count > 0 {
                    self.ports.metrics.sessions_revoked(reason, count);
                    *sum += count;
                }
            }
            done.deleted += swept.deleted;
            self.next = swept.next;
            let took = self.ports.clock.monotonic().saturating_sub(started);
            if self.next.is_none() || took >= MAX_ROUND || !goes_on().await {
                return Ok(());
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.ports.clock.now().into()
    }
}
