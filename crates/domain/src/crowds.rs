//! Which sessions several requests are refreshing at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::SessionId;

/// How long after the last of several requests at once another still belongs to them: the slowest
/// of many tabs, or of fifty requests on a busy machine.
const LINGERS_FOR: Duration = Duration::from_secs(5);

/// At this many remembered sessions, at first, those that nobody is refreshing any more are forgotten.
const FORGET_AT: usize = 1024;

/// Tells many requests at once from one after another.
///
/// A page in many tabs sends the same refresh token many times within a moment. All but the first are
/// replays of a superseded token, and none of them is a reason for suspicion; only those that come
/// one after another count towards the limit of replays.
#[derive(Debug, Default)]
pub(crate) struct Crowds(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    crowds: HashMap<SessionId, Crowd>,
    /// Twice of what was left the last time, so that forgetting costs little per request.
    forget_at: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Crowd {
    present: u32,
    /// When two were last present at once; monotonic.
    crowded_at: Option<Duration>,
}

impl Crowd {
    fn is_crowded(&self, now: Duration) -> bool {
        self.crowded_at.is_some_and(|at| now.saturating_sub(at) < LINGERS_FOR)
    }
}

/// One request's presence; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Presence<'a> {
    crowds: &'a Crowds,
    session: SessionId,
    /// Whether there are, or just were, others.
    pub(crate) is_crowded: bool,
}

impl Crowds {
    /// A request for this session begins. `now` is monotonic.
    pub(crate) fn enter(&self, session: SessionId, now: Duration) -> Presence<'_> {
        let mut memory = self.lock();
        let Memory { crowds, forget_at } = &mut *memory;
        if crowds.len() >= FORGET_AT.max(*forget_at) {
            crowds.retain(|_, crowd| crowd.present > 0 || crowd.is_crowded(now));
            *forget_at = crowds.len() * 2;
        }
        let crowd = crowds.entry(session).or_default();
        crowd.present += 1;
        if crowd.present > 1 {
            crowd.crowded_at = Some(now);
        }
        Presence { crowds: self, session, is_crowded: crowd.is_crowded(now) }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let mut memory = self.crowds.lock();
        let Some(crowd) = memory.crowds.get_mut(&self.session) else { return };
        crowd.present -= 1;
        if crowd.present == 0 && crowd.crowded_at.is_none() {
            memory.crowds.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn session(n: u128) -> SessionId {
        SessionId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn one_after_another_is_no_crowd() {
        let crowds = Crowds::default();
        for _ in 0..20 {
            assert!(!crowds.enter(session(1), SECOND).is_crowded);
        }
        assert!(crowds.lock().crowds.is_empty());
    }

    #[test]
    fn the_second_at_once_is_a_crowd_and_so_are_stragglers_for_a_while() {
        let crowds = Crowds::default();
        let first = crowds.enter(session(1), SECOND);
        assert!(!first.is_crowded);
        assert!(crowds.enter(session(1), SECOND).is_crowded);
        drop(first);
        assert!(crowds.enter(session(1), SECOND * 5).is_crowded);
        assert!(!crowds.enter(session(1), SECOND + LINGERS_FOR).is_crowded);
    }

    #[test]
    fn sessions_do_not_crowd_each_other() {
        let crowds = Crowds::default();
        let _one = crowds.enter(session(1), SECOND);
        assert!(!crowds.enter(session(2), SECOND).is_crowded);
    }

    #[test]
    fn crowds_of_the_past_are_forgotten() {
        let crowds = Crowds::default();
        for n in 0..10_000 {
            let now = LINGERS_FOR * u32::try_from(n).unwrap() / 100;
            let _first = crowds.enter(session(n), now);
            let _second = crowds.enter(session(n), now);
        }
        assert!(crowds.lock().crowds.len() <= FORGET_AT);
        // The latest crowd is not forgotten with the others.
        assert!(crowds.enter(session(9_999), LINGERS_FOR * 100).is_crowded);
    }
}
