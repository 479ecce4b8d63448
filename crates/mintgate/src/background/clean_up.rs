//! The clean-up of the store: by one replica at a time, in small steps, in rounds of bounded length.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::{RevokeReason, SessionId, Timestamp};
use mintgate_domain::ports::{Clock, Housekeeping, Metrics, StoreError, SweepStep, Swept};

use super::{BackgroundTask, StopSignal};

/// How many sessions one step looks at.
const STEP: u32 = 500;
/// The pause between two steps, so that requests always come first.
const PAUSE: Duration = Duration::from_millis(50);
/// For how long no other replica cleans up if this process dies in the middle of a round.
const LEASE: Duration = Duration::from_mins(5);
/// The longest round, well below the lease; the next round goes on where this one stopped.
const MAX_ROUND: Duration = Duration::from_mins(4);

/// Ends sessions that have expired and deletes those that ended long ago.
pub(crate) struct CleanUp {
    store: Arc<dyn Housekeeping>,
    metrics: Arc<dyn Metrics>,
    clock: Arc<dyn Clock>,
    every: Duration,
    keep_ended: Duration,
    /// The session after which the next round goes on, if the last one did not reach the end.
    next: Option<SessionId>,
    failing: bool,
}

impl CleanUp {
    /// Cleans up once in `every`; ended sessions are kept for `keep_ended`.
    pub(crate) fn new(
        store: Arc<dyn Housekeeping>,
        metrics: Arc<dyn Metrics>,
        clock: Arc<dyn Clock>,
        every: Duration,
        keep_ended: Duration,
    ) -> Self {
        Self { store, metrics, clock, every, keep_ended, next: None, failing: false }
    }

    /// One round, if no other replica has the duty.
    async fn sweep(&mut self, stopping: &mut StopSignal) -> Result<(), StoreError> {
        if !self.store.claim_sweep(self.now(), LEASE, self.every).await? {
            return Ok(());
        }
        let mut done = Swept::default();
        let swept = self.steps(stopping, &mut done).await;
        // After an error too: otherwise no replica could claim the duty before the lease ends.
        let ended = self.store.end_sweep(self.now()).await;
        let Swept { expired_idle, expired_absolute, deleted, next: _ } = done;
        if expired_idle + expired_absolute + deleted > 0 {
            tracing::info!(expired_idle, expired_absolute, deleted, "sessions were cleaned up");
        }
        swept.and(ended)
    }

    async fn steps(
        &mut self,
        stopping: &mut StopSignal,
        done: &mut Swept,
    ) -> Result<(), StoreError> {
        let started = self.clock.monotonic();
        loop {
            let step = SweepStep {
                after: self.next,
                limit: STEP,
                now: self.now(),
                keep_ended: self.keep_ended,
            };
            let swept = self.store.sweep(&step).await?;
            for (reason, count, sum) in [
                (RevokeReason::ExpiredIdle, swept.expired_idle, &mut done.expired_idle),
                (RevokeReason::ExpiredAbsolute, swept.expired_absolute, &mut done.expired_absolute),
            ] {
                if count > 0 {
                    self.metrics.sessions_revoked(reason, count);
                    *sum += count;
                }
            }
            done.deleted += swept.deleted;
            self.next = swept.next;
            let took = self.clock.monotonic().saturating_sub(started);
            if self.next.is_none() || took >= MAX_ROUND || stopping.comes_within(PAUSE).await {
                return Ok(());
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

impl BackgroundTask for CleanUp {
    const NAME: &'static str = "clean-up";

    async fn round(&mut self, stopping: &mut StopSignal) {
        let swept = self.sweep(stopping).await;
        match &swept {
            Err(error) if !self.failing => {
                tracing::warn!(error = %mintgate_domain::chain(&error), "the store cannot be cleaned up at present");
            }
            Ok(()) if self.failing => tracing::info!("the store can be cleaned up again"),
            _ => {}
        }
        self.failing = swept.is_err();
    }

    fn pause(&self) -> Duration {
        self.every
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use mintgate_domain::model::KeyId;
    use mintgate_testkit::{ManualClock, MetricEvent, RecordingMetrics};
    use tokio::sync::watch;
    use uuid::Uuid;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// A store that is cleaned up in `last` steps, each of which takes `took` by the clock.
    struct Steps {
        clock: Arc<ManualClock>,
        last: u128,
        took: Duration,
        fails_at: Option<u128>,
        taken: AtomicBool,
        calls: Mutex<Vec<String>>,
    }

    impl Steps {
        fn note(&self, call: impl Into<String>) {
            self.calls.lock().unwrap().push(call.into());
        }

        fn calls(&self) -> Vec<String> {
            std::mem::take(&mut *self.calls.lock().unwrap())
        }
    }

    #[async_trait]
    impl Housekeeping for Steps {
        async fn claim_sweep(
            &self,
            _: Timestamp,
            lease: Duration,
            every: Duration,
        ) -> Result<bool, StoreError> {
            assert!(lease > MAX_ROUND + MINUTE / 2, "a round ends before its lease");
            self.note(format!("claim {}", every.as_secs()));
            Ok(!self.taken.load(Ordering::Relaxed))
        }

        async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
            let at = step.after.map_or(0, |id| id.as_uuid().as_u128()) + 1;
            self.note(format!("step {at} of {}", step.limit));
            self.clock.advance(self.took);
            if self.fails_at == Some(at) {
                return Err(StoreError::Unavailable("it is down".into()));
            }
            let next = (at < self.last).then(|| SessionId::from_uuid(Uuid::from_u128(at)));
            Ok(Swept { next, expired_idle: 2, expired_absolute: 0, deleted: 1 })
        }

        async fn refresh_key_in_use(&self, _: &KeyId, _: Timestamp) -> Result<bool, StoreError> {
            unreachable!("clean-up asks about no key")
        }

        async fn end_sweep(&self, _: Timestamp) -> Result<(), StoreError> {
            self.note("end");
            Ok(())
        }
    }

    fn clean_up(
        last: u128,
        took: Duration,
        fails_at: Option<u128>,
    ) -> (CleanUp, Arc<Steps>, Arc<RecordingMetrics>) {
        let clock = Arc::new(ManualClock::default());
        let store = Arc::new(Steps {
            clock: clock.clone(),
            last,
            took,
            fails_at,
            taken: AtomicBool::new(false),
            calls: Mutex::default(),
        });
        let metrics = Arc::new(RecordingMetrics::default());
        let task = CleanUp::new(store.clone(), metrics.clone(), clock, MINUTE, MINUTE);
        (task, store, metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_goes_to_the_end_in_steps_and_counts_what_it_ended() {
        let (mut task, store, metrics) = clean_up(3, Duration::ZERO, None);
        let (_stop, stopping) = watch::channel(false);
        task.round(&mut StopSignal(stopping)).await;
        let steps = ["claim 60", "step 1 of 500", "step 2 of 500", "step 3 of 500", "end"];
        assert_eq!(store.calls(), steps);
        let revoked = MetricEvent::SessionsRevoked { reason: RevokeReason::ExpiredIdle, count: 2 };
        assert_eq!(metrics.events(), [revoked.clone(), revoked.clone(), revoked]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_is_not_ours_does_nothing() {
        let (mut task, store, metrics) = clean_up(3, Duration::ZERO, None);
        store.taken.store(true, Ordering::Relaxed);
        let (_stop, stopping) = watch::channel(false);
        task.round(&mut StopSignal(stopping)).await;
        assert_eq!(store.calls(), ["claim 60"]);
        assert_eq!(metrics.events(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_round_ends_before_its_lease_and_the_next_goes_on_where_it_stopped() {
        let (mut task, store, _) = clean_up(6, MINUTE, None);
        let (_stop, stopping) = watch::channel(false);
        let mut stopping = StopSignal(stopping);
        task.round(&mut stopping).await;
        let calls = store.calls();
        assert_eq!(calls.last().unwrap(), "end");
        assert_eq!(calls[calls.len() - 2], "step 4 of 500");
        task.round(&mut stopping).await;
        assert_eq!(store.calls(), ["claim 60", "step 5 of 500", "step 6 of 500", "end"]);
        task.round(&mut stopping).await;
        assert_eq!(store.calls()[1], "step 1 of 500");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_fails_gives_the_duty_back_and_is_tried_again() {
        let (mut task, store, metrics) = clean_up(3, Duration::ZERO, Some(2));
        let (_stop, stopping) = watch::channel(false);
        let mut stopping = StopSignal(stopping);
        for expected in [vec!["step 1 of 500", "step 2 of 500"], vec!["step 2 of 500"]] {
            task.round(&mut stopping).await;
            assert!(task.failing);
            let calls = store.calls();
            assert_eq!(calls[1..calls.len() - 1], expected);
            assert_eq!(calls.last().unwrap(), "end");
        }
        assert_eq!(metrics.events().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_ends_does_not_begin_another_step() {
        let (mut task, store, _) = clean_up(3, Duration::ZERO, None);
        let (_stop, stopping) = watch::channel(true);
        task.round(&mut StopSignal(stopping)).await;
        assert_eq!(store.calls(), ["claim 60", "step 1 of 500", "end"]);
    }
}
