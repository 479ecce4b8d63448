//! The clean-up of the store: in steps, in rounds that end before another process may begin one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{KeyId, RevokeReason, SessionId, Timestamp};
use mintgate_domain::ports::{Duties, Duty, Housekeeping, StoreError, SweepStep, Swept};
use mintgate_domain::{CleanUp, CleanUpPorts};
use mintgate_testkit::{ManualClock, MemoryStore, MetricEvent, RecordingMetrics};
use uuid::Uuid;

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
}

#[async_trait]
impl Duties for Steps {
    async fn claim_duty(
        &self,
        duty: Duty,
        _: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        assert_eq!(duty, Duty::Sweep);
        assert!(lease >= MINUTE * 5, "a round ends before its lease");
        self.note(format!("claim {}", every.as_secs()));
        Ok(!self.taken.load(Ordering::Relaxed))
    }

    async fn end_duty(&self, duty: Duty, _: Timestamp) -> Result<(), StoreError> {
        assert_eq!(duty, Duty::Sweep);
        self.note("end");
        Ok(())
    }

    async fn duty_ended_at(&self, _: Duty) -> Result<Option<Timestamp>, StoreError> {
        unreachable!("clean-up does not ask")
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
    let ports = CleanUpPorts {
        housekeeping: store.clone(),
        people: Arc::new(MemoryStore::default()),
        duties: store.clone(),
        metrics: metrics.clone(),
        clock,
    };
    (CleanUp::new(ports, MINUTE, MINUTE), store, metrics)
}

#[tokio::test]
async fn a_round_goes_to_the_end_in_steps_and_counts_what_it_ended() {
    let (mut task, store, metrics) = clean_up(3, Duration::ZERO, None);
    task.round(async || true, &mut Swept::default()).await.unwrap();
    let steps = ["claim 60", "step 1 of 500", "step 2 of 500", "step 3 of 500", "end"];
    assert_eq!(store.calls(), steps);
    let revoked = MetricEvent::SessionsRevoked { reason: RevokeReason::ExpiredIdle, count: 2 };
    assert_eq!(metrics.events(), [revoked.clone(), revoked.clone(), revoked]);
}

#[tokio::test]
async fn a_round_that_is_not_ours_does_nothing() {
    let (mut task, store, metrics) = clean_up(3, Duration::ZERO, None);
    store.taken.store(true, Ordering::Relaxed);
    task.round(async || true, &mut Swept::default()).await.unwrap();
    assert_eq!(store.calls(), ["claim 60"]);
    assert_eq!(metrics.events(), []);
}

#[tokio::test]
async fn a_long_round_ends_before_its_lease_and_the_next_goes_on_where_it_stopped() {
    let (mut task, store, _) = clean_up(6, MINUTE, None);
    task.round(async || true, &mut Swept::default()).await.unwrap();
    let calls = store.calls();
    assert_eq!(calls.last().unwrap(), "end");
    assert_eq!(calls[calls.len() - 2], "step 4 of 500");
    task.round(async || true, &mut Swept::default()).await.unwrap();
    assert_eq!(store.calls(), ["claim 60", "step 5 of 500", "step 6 of 500", "end"]);
    task.round(async || true, &mut Swept::default()).await.unwrap();
    assert_eq!(store.calls()[1], "step 1 of 500");
}

#[tokio::test]
async fn a_step_that_fails_gives_the_duty_back_and_is_tried_again() {
    let (mut task, store, metrics) = clean_up(3, Duration::ZERO, Some(2));
    for (expected, deleted) in
        [(vec!["step 1 of 500", "step 2 of 500"], 1), (vec!["step 2 of 500"], 0)]
    {
        let mut done = Swept::default();
        assert!(task.round(async || true, &mut done).await.is_err());
        assert_eq!(done.deleted, deleted);
        let calls = store.calls();
        assert_eq!(calls[1..calls.len() - 1], expected);
        assert_eq!(calls.last().unwrap(), "end");
    }
    assert_eq!(metrics.events().len(), 1);
}

#[tokio::test]
async fn a_service_that_ends_does_not_begin_another_step() {
    let (mut task, store, _) = clean_up(3, Duration::ZERO, None);
    task.round(async || false, &mut Swept::default()).await.unwrap();
    assert_eq!(store.calls(), ["claim 60", "step 1 of 500", "end"]);
}
