//! The audit log of one process, on a store in memory that can fail.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_audit::{AuditTrail, AuditTrailPorts};
use mintgate_domain::model::{
    Actor, AuditEntry, AuditEvent, AuditExtent, AuditHead, AuditKey, AuditKeys, AuditKind,
    AuditQuery, ExternalIdentity, Timestamp, UserId,
};
use mintgate_domain::ports::{
    AuditLog as _, AuditStore, Clock as _, Duties, Duty, Erasure, NoMetrics, StoreError,
};
use mintgate_domain::{AuditReview, Origin, SecretText};
use mintgate_testkit::{ManualClock, MemoryStore, SeededEntropy};
use uuid::Uuid;

const DAY: Duration = Duration::from_hours(24);

struct Rig {
    store: MemoryStore,
    clock: Arc<ManualClock>,
    trail: Arc<AuditTrail>,
}

fn keys() -> AuditKeys {
    AuditKeys { current: AuditKey::derived(&SecretText::new("of the tests")), former: vec![] }
}

fn trail(
    store: Arc<dyn AuditStore>,
    duties: Arc<dyn Duties>,
    clock: &Arc<ManualClock>,
) -> Arc<AuditTrail> {
    Arc::new(AuditTrail::new(AuditTrailPorts {
        store,
        duties,
        keys: keys(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Arc::new(NoMetrics),
    }))
}

impl Rig {
    fn new() -> Self {
        let (store, clock) = (MemoryStore::default(), Arc::new(ManualClock::default()));
        let trail = trail(Arc::new(store.clone()), Arc::new(store.clone()), &clock);
        Self { store, clock, trail }
    }

    fn event(&self, kind: AuditKind) -> AuditEvent {
        AuditEvent::new(kind, self.clock.now().into(), Actor::User)
    }

    fn down(&self) {
        self.store.set_fault(Some(StoreError::Unavailable("it is down".into())));
    }

    async fn entries(&self) -> Vec<AuditEntry> {
        self.store.audit_entries(&AuditQuery::All, 0, 20_000).await.unwrap()
    }

    async fn kinds(&self) -> Vec<&'static str> {
        self.entries().await.iter().map(|entry| entry.event.kind.name()).collect()
    }

    async fn require_clean(&self) {
        let review = AuditReview { store: Arc::new(self.store.clone()), keys: keys() };
        assert_eq!(review.verify(&[]).await.unwrap().fault, None);
    }
}

#[tokio::test]
async fn events_are_written_in_order_with_whose_request_it_was() {
    let rig = Rig::new();
    let origin = Origin {
        request_id: Some("request-1".into()),
        trace_id: Some("trace-1".into()),
        client: mintgate_domain::model::ClientInfo {
            user_agent: Some("a browser".to_owned()),
            ip_prefix: Some("192.0.2.0/24".to_owned()),
        },
    };
    let work = async { rig.trail.record(rig.event(AuditKind::Login)) };
    Origin::scope(Some(Arc::new(origin)), work).await;
    rig.trail.record(rig.event(AuditKind::Logout));
    rig.trail.flush().await.unwrap();
    let entries = rig.entries().await;
    assert_eq!(rig.kinds().await, ["login", "logout"]);
    let first = &entries[0].event;
    assert_eq!(first.request_id.as_deref(), Some("request-1"));
    assert_eq!(first.trace_id.as_deref(), Some("trace-1"));
    assert_eq!(first.personal.network.as_deref(), Some("192.0.2.0/24"));
    assert_eq!(first.personal.user_agent.as_deref(), Some("a browser"));
    assert_eq!(entries[1].event.request_id, None);
    rig.require_clean().await;
}

#[tokio::test]
async fn while_the_log_cannot_be_written_events_wait_and_are_marked_as_late() {
    let rig = Rig::new();
    rig.down();
    rig.trail.record(rig.event(AuditKind::Login));
    assert!(rig.trail.flush().await.is_err());
    rig.clock.advance(Duration::from_mins(1));
    rig.trail.record(rig.event(AuditKind::Logout));
    rig.store.set_fault(None);
    rig.trail.flush().await.unwrap();
    let late: Vec<_> = rig.entries().await.iter().map(|entry| entry.is_late).collect();
    assert_eq!(late, [true, false]);
    rig.require_clean().await;
}

#[tokio::test]
async fn what_gives_rights_is_written_first_or_not_at_all() {
    let rig = Rig::new();
    rig.trail.record_first(rig.event(AuditKind::RoleGranted)).await.unwrap();
    assert_eq!(rig.kinds().await, ["role_granted"], "written before it returns");
    rig.down();
    rig.trail.record_first(rig.event(AuditKind::UserEnabled)).await.unwrap_err();
    rig.trail.record(rig.event(AuditKind::ActFailed));
    rig.store.set_fault(None);
    rig.trail.flush().await.unwrap();
    assert_eq!(rig.kinds().await, ["role_granted", "act_failed"], "never written afterwards");
}

#[tokio::test]
async fn what_is_too_much_is_counted_and_noted() {
    let rig = Rig::new();
    rig.down();
    for _ in 0..10_005 {
        rig.trail.record(rig.event(AuditKind::Login));
    }
    rig.store.set_fault(None);
    rig.trail.flush().await.unwrap();
    let entries = rig.entries().await;
    assert_eq!(entries.len(), 10_001);
    assert_eq!(entries[0].event.kind, AuditKind::EventsDropped);
    assert_eq!(entries[0].event.details["count"], "5");
    rig.require_clean().await;
}

/// Carries an append out and does not say so, as often as it is told to.
struct Forgetful {
    inner: MemoryStore,
    answers_get_lost: AtomicBool,
}

#[async_trait]
impl AuditStore for Forgetful {
    async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        self.inner.audit_head().await
    }

    async fn append_audit(
        &self,
        after: &AuditHead,
        entries: &[AuditEntry],
        head: &AuditHead,
        erasure: Option<&Erasure>,
    ) -> Result<bool, StoreError> {
        let appended = self.inner.append_audit(after, entries, head, erasure).await;
        if self.answers_get_lost.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the answer is lost".into()));
        }
        appended
    }

    async fn audit_entries(
        &self,
        query: &AuditQuery,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.inner.audit_entries(query, after, limit).await
    }

    async fn audit_extent(&self) -> Result<AuditExtent, StoreError> {
        self.inner.audit_extent().await
    }

    async fn last_old_audit_entry(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Option<AuditEntry>, StoreError> {
        self.inner.last_old_audit_entry(before, limit).await
    }

    async fn prune_audit(&self, through: u64, limit: u32) -> Result<u64, StoreError> {
        self.inner.prune_audit(through, limit).await
    }

    async fn swap_audit_configuration(&self, now: &str) -> Result<Option<String>, StoreError> {
        self.inner.swap_audit_configuration(now).await
    }
}

#[tokio::test]
async fn a_lost_answer_writes_nothing_twice() {
    let rig = Rig::new();
    let store =
        Arc::new(Forgetful { inner: rig.store.clone(), answers_get_lost: AtomicBool::new(true) });
    let trail = trail(store, Arc::new(rig.store.clone()), &rig.clock);
    trail.record(rig.event(AuditKind::Login));
    assert!(trail.flush().await.is_err());
    trail.record(rig.event(AuditKind::Logout));
    trail.flush().await.unwrap();
    assert_eq!(rig.kinds().await, ["login", "logout"]);
    rig.require_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_write_one_log() {
    let rig = Rig::new();
    let processes: Vec<_> = (0..4)
        .map(|_| trail(Arc::new(rig.store.clone()), Arc::new(rig.store.clone()), &rig.clock))
        .collect();
    let writing: Vec<_> = processes
        .into_iter()
        .map(|process| {
            let event = rig.event(AuditKind::Login);
            tokio::spawn(async move {
                for _ in 0..250 {
                    process.record(event.clone());
                    tokio::task::yield_now().await;
                    process.flush().await.unwrap();
                }
            })
        })
        .collect();
    for process in writing {
        process.await.unwrap();
    }
    assert_eq!(rig.entries().await.len(), 1000);
    rig.require_clean().await;
}

#[tokio::test(start_paused = true)]
async fn the_writer_writes_what_comes_and_at_the_end_what_waits() {
    let rig = Rig::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = rig.trail.clone();
    let writing = tokio::spawn(async move {
        writer.write(async { drop(stopped.await) }).await;
    });
    rig.trail.record(rig.event(AuditKind::Login));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.kinds().await, ["login"]);
    rig.trail.record_first(rig.event(AuditKind::RoleGranted)).await.unwrap();
    rig.trail.record(rig.event(AuditKind::Logout));
    stop.send(()).unwrap();
    writing.await.unwrap();
    assert_eq!(rig.kinds().await, ["login", "role_granted", "logout"]);
}

#[tokio::test]
async fn a_deleted_person_is_forgotten_with_what_named_them_before_they_were_a_user() {
    let rig = Rig::new();
    let ada = ExternalIdentity { issuer: "i".to_owned(), subject: "ada".to_owned() };
    let user = UserId::from_uuid(Uuid::from_u128(1));
    for _ in 0..3 {
        rig.trail.record(rig.event(AuditKind::LoginDenied).of_identity(&ada));
    }
    rig.trail.record(rig.event(AuditKind::Login).of_identity(&ada).of_user(user));
    rig.trail.flush().await.unwrap();
    let deletion = rig.event(AuditKind::UserDeleted).of_user(user);
    rig.trail.forget(deletion, vec![ada]).await.unwrap();
    let entries = rig.entries().await;
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().all(|entry| entry.event.personal.is_empty()), "{entries:?}");
    assert_eq!(entries[4].event.details["erased_without_user"], "3");
    rig.require_clean().await;
}

#[tokio::test]
async fn what_is_old_is_deleted_by_one_process_and_the_rest_stays_proven() {
    let rig = Rig::new();
    for _ in 0..5 {
        rig.trail.record(rig.event(AuditKind::Login));
    }
    rig.trail.flush().await.unwrap();
    rig.clock.advance(DAY * 100);
    rig.trail.record(rig.event(AuditKind::Logout));
    // The clock is set back; what is written then is in its place all the same.
    let now = Timestamp::from(rig.clock.now());
    rig.clock.set(now - Duration::from_secs(90));
    rig.trail.record(rig.event(AuditKind::Logout));
    rig.trail.flush().await.unwrap();
    rig.trail.tend(DAY * 90).await.unwrap();
    assert_eq!(rig.kinds().await, ["logout", "logout", "entries_pruned"]);
    rig.require_clean().await;
    // Nothing is old: nothing is announced.
    rig.clock.advance(DAY);
    rig.trail.tend(DAY * 90).await.unwrap();
    assert_eq!(rig.entries().await.len(), 3);
    let pruned_at = rig.store.duty_ended_at(Duty::AuditPruning).await.unwrap();
    assert_eq!(pruned_at, Some(rig.clock.now().into()));
}

#[tokio::test]
async fn a_changed_configuration_is_noted_by_the_names_of_its_keys() {
    let rig = Rig::new();
    let lines = |secret: &str| vec!["a.b = 1".to_owned(), format!("a.secret = \"{secret}\"")];
    for (secret, noted) in [("one", 0), ("one", 0), ("two", 1), ("two", 1)] {
        rig.trail.note_configuration(&lines(secret)).await.unwrap();
        rig.trail.flush().await.unwrap();
        assert_eq!(rig.entries().await.len(), noted);
    }
    let event = &rig.entries().await[0].event;
    assert_eq!(event.details["changed"], "a.secret");
    assert_eq!(event.details["hash"].len(), 64);
}
