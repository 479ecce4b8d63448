//! Putting what waits into the store.

use std::time::Duration;

use mintgate_domain::model::{
    Actor, AuditEntry, AuditEvent, AuditHead, AuditKind, AuditQuery, ExportedHead, ExternalIdentity,
};
use mintgate_domain::ports::{Erasure, StoreError};

use crate::queue::{Kind, Waiting};
use crate::trail::{AuditTrail, Writer};

/// The most events of one batch.
const BATCH: usize = 200;
/// How often a batch begins again because another process was faster.
const ATTEMPTS: u32 = 64;
/// An event that waited so long is marked as late.
const LATE: Duration = Duration::from_secs(5);
/// How many entries are read at once.
const PAGE: u32 = 500;

/// A batch that may have been written.
pub(crate) struct InDoubt {
    /// The head of the log that the batch was appended to.
    after: AuditHead,
    /// The proof of its first entry.
    first: [u8; 32],
    events: Vec<Waiting>,
}

impl AuditTrail {
    /// Writes all that waits, batch by batch.
    ///
    /// # Errors
    /// [`StoreError`]: the rest still waits, but for what is to be written now or never.
    pub(crate) async fn write_waiting(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let written = self.write_all(&mut writer).await;
        self.ports.metrics.audit_queued(self.queue.len());
        match &written {
            Err(error) if !writer.is_failing => {
                let error = mintgate_domain::chain(error);
                tracing::warn!(%error, "the audit log cannot be written at present; its events wait");
            }
            Ok(()) if writer.is_failing => tracing::info!("the audit log can be written again"),
            _ => {}
        }
        writer.is_failing = written.is_err();
        written
    }

    async fn write_all(&self, writer: &mut Writer) -> Result<(), StoreError> {
        self.resolve_doubt(writer).await?;
        loop {
            let lost = self.queue.take_lost();
            let mut batch = self.queue.take(BATCH);
            if lost > 0 {
                let at = self.ports.clock.now().into();
                let event = AuditEvent::new(AuditKind::EventsDropped, at, Actor::Service);
                let since = self.ports.clock.monotonic();
                let event = event.with("count", lost);
                batch.insert(0, Waiting { event, since, done: None, kind: Kind::Past });
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.write_batch(writer, batch).await?;
        }
    }

    async fn write_batch(
        &self,
        writer: &mut Writer,
        mut batch: Vec<Waiting>,
    ) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let head = match self.head(writer).await {
                Ok(head) => head,
                Err(error) => return Err(self.give_back(batch, error)),
            };
            let erasure = match self.erasure(&batch, &head).await {
                Ok(erasure) => erasure,
                Err(error) => return Err(self.give_back(batch, error)),
            };
            let (entries, next) = self.sealed(&batch, &head, erasure.as_ref());
            let erasure = erasure.as_ref().map(|(erasure, _)| erasure);
            let appended = self.ports.store.append_audit(&head, &entries, &next, erasure).await;
            match appended {
                Ok(true) => {
                    writer.head = Some(next);
                    for waiting in &mut batch {
                        waiting.tell(Ok(()));
                    }
                    return Ok(());
                }
                Ok(false) => writer.head = None,
                Err(error) => {
                    writer.head = None;
                    for waiting in &mut batch {
                        tell_failed(waiting, &error);
                    }
                    let first = entries.first().map(|entry| entry.mac).unwrap_or_default();
                    writer.in_doubt = Some(InDoubt { after: head, first, events: batch });
                    return Err(error);
                }
            }
        }
        let error = StoreError::Unavailable("other processes were always faster".into());
        Err(self.give_back(batch, error))
    }

    /// Finds out whether a batch was written whose answer did not come.
    async fn resolve_doubt(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let Some(doubt) = &writer.in_doubt else { return Ok(()) };
        let behind = doubt.after.sequence;
        let next = self.ports.store.audit_entries(&AuditQuery::All, behind, 1).await?;
        let was_written = next.first().is_some_and(|entry| entry.mac == doubt.first);
        if let Some(mut doubt) = writer.in_doubt.take() {
            if was_written {
                for waiting in &mut doubt.events {
                    waiting.tell(Ok(()));
                }
            } else {
                self.queue.put_back(doubt.events);
            }
        }
        Ok(())
    }

    /// Puts a batch back that was not written.
    fn give_back(&self, mut batch: Vec<Waiting>, error: StoreError) -> StoreError {
        for waiting in &mut batch {
            tell_failed(waiting, &error);
        }
        self.queue.put_back(batch);
        error
    }

    async fn head(&self, writer: &mut Writer) -> Result<AuditHead, StoreError> {
        if let Some(head) = writer.head {
            return Ok(head);
        }
        let head = self.ports.store.audit_head().await?;
        writer.head = Some(head);
        Ok(head)
    }

    /// What is to be erased with a batch that is a deletion, and how many entries about no user that is.
    async fn erasure(
        &self,
        batch: &[Waiting],
        head: &AuditHead,
    ) -> Result<Option<(Erasure, u64)>, StoreError> {
        let Some(Waiting { event, kind: Kind::Deletion(identities), .. }) = batch.last() else {
            return Ok(None);
        };
        let Some(user) = event.user else { return Ok(None) };
        let through = head.sequence;
        let mut count = 0;
        for identity in identities {
            count += self.entries_without_user(identity, through).await?;
        }
        Ok(Some((Erasure { user, identities: identities.clone(), through }, count)))
    }

    async fn entries_without_user(
        &self,
        identity: &ExternalIdentity,
        through: u64,
    ) -> Result<u64, StoreError> {
        let query = AuditQuery::OfIdentity(identity.clone());
        let (mut count, mut after) = (0, 0);
        loop {
            let page = self.ports.store.audit_entries(&query, after, PAGE).await?;
            let counted = page.iter().take_while(|entry| entry.sequence <= through).count();
            count += counted as u64;
            match page.last() {
                Some(last) if last.sequence < through && counted == page.len() => {
                    after = last.sequence;
                }
                _ => return Ok(count),
            }
        }
    }

    fn sealed(
        &self,
        batch: &[Waiting],
        head: &AuditHead,
        erasure: Option<&(Erasure, u64)>,
    ) -> (Vec<AuditEntry>, AuditHead) {
        let now = self.ports.clock.monotonic();
        let (mut entries, mut head) = (Vec::with_capacity(batch.len()), *head);
        for waiting in batch {
            let mut event = waiting.event.clone();
            if let (Kind::Deletion(_), Some((_, count))) = (&waiting.kind, erasure) {
                event = event.erasing_without_user(*count);
            }
            let is_late = now.saturating_sub(waiting.since) > LATE;
            let salt = self.ports.entropy.bytes();
            let (entry, next) = self.ports.keys.seal(&head, event, is_late, salt);
            entries.push(entry);
            head = next;
        }
        (entries, head)
    }

    /// Names the end of the log in the log of the process, if it has moved: whoever keeps that has what
    /// shows a cut or rewritten audit log.
    pub(crate) async fn name_head(&self) -> Result<(), StoreError> {
        let head = self.ports.store.audit_head().await?;
        let mut writer = self.writer.lock().await;
        if head.sequence > writer.named {
            writer.named = head.sequence;
            let head = ExportedHead::from(&head);
            tracing::info!(target: "mintgate::audit", %head, "the end of the audit log");
        }
        Ok(())
    }
}

fn tell_failed(waiting: &mut Waiting, error: &StoreError) {
    // A deletion goes on to be tried; whoever waits for it may go on waiting too.
    if waiting.kind == Kind::Coming {
        waiting.tell(Err(error.clone()));
    }
}
