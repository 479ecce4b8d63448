//! The events that wait to be written, in memory and bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mintgate_domain::model::{AuditEvent, ExternalIdentity};
use mintgate_domain::ports::StoreError;
use tokio::sync::oneshot;

/// How many events wait at most. A login takes about 700 bytes.
pub(crate) const CAPACITY: usize = 10_000;

/// An event that waits to be written.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) event: AuditEvent,
    /// When it was noted, by the clock that only moves forward.
    pub(crate) since: Duration,
    /// Whoever waits until it is written. Gone when they have given up.
    pub(crate) done: Option<oneshot::Sender<Result<(), StoreError>>>,
    pub(crate) kind: Kind,
}

/// What is to be done with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The event has happened; it is written as soon as possible.
    Past,
    /// Is about to happen: is written now or never.
    Coming,
    /// A person was deleted: is written together with the erasure of whom these identities name.
    Deletion(Vec<ExternalIdentity>),
}

impl Waiting {
    /// Whether nobody wants it to be written any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.kind == Kind::Coming && self.done.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Tells the act that waits for this event how writing it ended.
    pub(crate) fn tell(&mut self, result: Result<(), StoreError>) {
        if let Some(done) = self.done.take() {
            // They may have given up.
            let _ = done.send(result);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// How many were lost since the log was last written.
    lost: u64,
}

/// The bounded queue of events that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<State>);

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one at the end; `false` if there is no room, and it is lost.
    pub(crate) fn push(&self, waiting: Waiting) -> bool {
        let mut state = self.state();
        if state.waiting.len() >= CAPACITY {
            state.lost += 1;
            return false;
        }
        state.waiting.push_back(waiting);
        true
    }

    /// Takes the first ones, at most `limit`. A deletion comes alone.
    pub(crate) fn take(&self, limit: usize) -> Vec<Waiting> {
        let mut state = self.state();
        let mut taken = vec![];
        while taken.len() < limit
            && let Some(next) = state.waiting.front()
        {
            let is_deletion = matches!(next.kind, Kind::Deletion(_));
            if is_deletion && !taken.is_empty() {
                break;
            }
            taken.extend(state.waiting.pop_front().filter(|waiting| !waiting.is_given_up()));
            if is_deletion {
                break;
            }
        }
        taken
    }

    /// Puts them back at the beginning, but for those that are to be written now or never.
    pub(crate) fn put_back(&self, taken: Vec<Waiting>) {
        let mut state = self.state();
        for waiting in taken.into_iter().rev().filter(|waiting| waiting.kind != Kind::Coming) {
            state.waiting.push_front(waiting);
        }
    }

    /// How many were lost since this was last asked.
    pub(crate) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.state().lost)
    }

    pub(crate) fn len(&self) -> u64 {
        self.state().waiting.len().try_into().unwrap_or(u64::MAX)
    }
}
