//! The audit log as use cases know it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    Actor, AuditEvent, AuditHead, AuditKeys, AuditKind, ExternalIdentity,
};
use mintgate_domain::ports::{AuditLog, AuditStore, Clock, Duties, Entropy, Metrics, StoreError};
use mintgate_domain::{ConfigurationDigests, Origin};
use tokio::sync::{Mutex, Notify, oneshot};

use crate::queue::{Kind, Queue, Waiting};
use crate::writing::InDoubt;

/// The longest that an act which gives rights waits for its entry.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long events are gathered into one batch, unless somebody waits.
const GATHER: Duration = Duration::from_millis(50);
/// The pause after a batch that could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// What an [`AuditTrail`] is made of.
#[derive(Clone)]
pub struct AuditTrailPorts {
    /// Where the log is kept.
    pub store: Arc<dyn AuditStore>,
    /// The duties, which tell which process deletes old entries.
    pub duties: Arc<dyn Duties>,
    /// The keys that the entries are proven with.
    pub keys: AuditKeys,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The source of random salts.
    pub entropy: Arc<dyn Entropy>,
    /// The metrics of the audit log.
    pub metrics: Arc<dyn Metrics>,
}

/// The audit log of one process.
pub struct AuditTrail {
    pub(crate) ports: AuditTrailPorts,
    pub(crate) queue: Queue,
    /// Something has come; somebody waits for it.
    pub(crate) came: Notify,
    pub(crate) urgent: Notify,
    pub(crate) writer: Mutex<Writer>,
    /// Whether the last round of [`care`](Self::care) failed.
    pub(crate) untended: AtomicBool,
}

/// What whoever writes knows of the log. Held while writing, so that one at a time does.
#[derive(Default)]
pub(crate) struct Writer {
    /// The end of the log, as this process has last seen it.
    pub(crate) head: Option<AuditHead>,
    /// A batch of which it is not known whether it was written.
    pub(crate) in_doubt: Option<InDoubt>,
    /// The head that was last named in the log of the process.
    pub(crate) named: u64,
    pub(crate) is_failing: bool,
}

impl AuditTrail {
    /// Makes the audit log of this process. Nothing is written before [`write`](Self::write) or
    /// [`flush`](Self::flush) runs.
    pub fn new(ports: AuditTrailPorts) -> Self {
        Self {
            ports,
            queue: Queue::default(),
            came: Notify::new(),
            urgent: Notify::new(),
            writer: Mutex::default(),
            untended: AtomicBool::new(false),
        }
    }

    /// Writes what comes, as it comes, until `stop` completes; then what waits still.
    pub async fn write(&self, stop: impl Future<Output = ()>) {
        let writing = async {
            loop {
                self.came.notified().await;
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = self.urgent.notified() => {}
                }
                while self.write_waiting().await.is_err() {
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        tokio::select! {
            () = writing => {}
            () = stop => {
                let _ = self.write_waiting().await;
            }
        }
    }

    /// Writes what waits, for a few seconds at most: for a command that is about to end.
    ///
    /// # Errors
    /// [`StoreError`]: some of it was not written, and is lost with this process.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match tokio::time::timeout(PATIENCE, self.write_waiting()).await {
            Ok(written) => written,
            Err(_) => Err(too_slow()),
        }
    }

    /// Notes that the service has started with this configuration, given as one `key = value` a line, if it
    /// is another one than at the start before. Values are compared by their digests and never stored.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be compared.
    pub async fn note_configuration(&self, lines: &[String]) -> Result<(), StoreError> {
        let now = ConfigurationDigests::of(lines);
        let before = self.ports.store.swap_audit_configuration(&now.to_string()).await?;
        let before = before.as_deref().map(ConfigurationDigests::parse);
        let changed = before.map(|before| now.differing(&before)).unwrap_or_default();
        if changed.is_empty() {
            return Ok(());
        }
        let at = self.ports.clock.now().into();
        let event = AuditEvent::new(AuditKind::ConfigChanged, at, Actor::Service);
        self.record(event.with("hash", now.hash()).with("changed", changed.join(", ")));
        Ok(())
    }

    /// Writes an event, and returns when it is written.
    pub(crate) async fn written(&self, event: AuditEvent) -> Result<(), StoreError> {
        let receiver = self.take(event, Kind::Coming);
        self.answer(receiver).await
    }

    fn take(&self, event: AuditEvent, kind: Kind) -> oneshot::Receiver<Result<(), StoreError>> {
        let (done, receiver) = oneshot::channel();
        self.push(event, kind, Some(done));
        self.urgent.notify_one();
        receiver
    }

    fn push(
        &self,
        mut event: AuditEvent,
        kind: Kind,
        done: Option<oneshot::Sender<Result<(), StoreError>>>,
    ) {
        if let Some(origin) = Origin::current() {
            origin.complete(&mut event);
        }
        let since = self.ports.clock.monotonic();
        if self.queue.push(Waiting { event, since, done, kind }) {
            self.came.notify_one();
        } else {
            self.ports.metrics.audit_dropped(1);
        }
        self.ports.metrics.audit_queued(self.queue.len());
    }

    /// Waits for an answer while the queue is being written, by this caller if nobody else does.
    async fn answer(
        &self,
        receiver: oneshot::Receiver<Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let answer = async {
            tokio::select! {
                biased;
                answer = receiver => answer.unwrap_or_else(|_| Err(too_slow())),
                () = async { let _ = self.write_waiting().await; std::future::pending().await } => Ok(()),
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(too_slow()))
    }
}

pub(crate) fn too_slow() -> StoreError {
    StoreError::Unavailable("the audit log could not be written in time".into())
}

#[async_trait]
impl AuditLog for AuditTrail {
    fn record(&self, event: AuditEvent) {
        self.push(event, Kind::Past, None);
    }

    async fn record_first(&self, event: AuditEvent) -> Result<(), StoreError> {
        self.written(event).await
    }

    async fn forget(
        &self,
        deletion: AuditEvent,
        identities: Vec<ExternalIdentity>,
    ) -> Result<(), StoreError> {
        let receiver = self.take(deletion, Kind::Deletion(identities));
        self.answer(receiver).await
    }
}
