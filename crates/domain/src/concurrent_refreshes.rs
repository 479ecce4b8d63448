//! Which sessions several requests are refreshing at the same time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::SessionId;

/// How long after two requests overlapped another one still counts as simultaneous with them: the
/// slowest of many tabs, or of fifty requests on a busy machine.
const LINGERS_FOR: Duration = Duration::from_secs(5);

/// The number of remembered sessions at which, at first, those without a request are forgotten.
const FORGET_AT: usize = 1024;

/// Tells simultaneous requests for a session from one after another.
///
/// A page in many tabs sends the same refresh token many times within a moment. All but the first are
/// replays of a superseded token, and none of them is suspicious; only those that come one after
/// another count towards the limit of replays. Each process sees its own requests only: with several
/// replicas, simultaneous requests that a balancer spreads over them may count.
#[derive(Debug, Default)]
pub(crate) struct ConcurrentRefreshes(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    sessions: HashMap<SessionId, Requests>,
    /// Twice the number of sessions left the last time, so that forgetting costs little per request.
    forget_at: usize,
}

/// The requests for one session.
#[derive(Debug, Default, Clone, Copy)]
struct Requests {
    in_flight: u32,
    /// When a request last began while another was in flight; monotonic.
    overlapped_at: Option<Duration>,
}

impl Requests {
    fn are_simultaneous(&self, now: Duration) -> bool {
        self.overlapped_at.is_some_and(|at| now.saturating_sub(at) < LINGERS_FOR)
    }
}

/// A request in flight; it has left when this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    refreshes: &'a ConcurrentRefreshes,
    session: SessionId,
    /// Whether other requests for the session are in flight, or just were.
    pub(crate) is_simultaneous: bool,
}

impl ConcurrentRefreshes {
    /// A request for this session begins. `now` is monotonic.
    pub(crate) fn enter(&self, session: SessionId, now: Duration) -> InFlight<'_> {
        let mut memory = self.lock();
        let Memory { sessions, forget_at } = &mut *memory;
        if sessions.len() >= FORGET_AT.max(*forget_at) {
            sessions.retain(|_, requests| requests.in_flight > 0 || requests.are_simultaneous(now));
            *forget_at = sessions.len() * 2;
        }
        let requests = sessions.entry(session).or_default();
        requests.in_flight += 1;
        if requests.in_flight > 1 {
            requests.overlapped_at = Some(now);
        }
        let is_simultaneous = requests.are_simultaneous(now);
        InFlight { refreshes: self, session, is_simultaneous }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut memory = self.refreshes.lock();
        let Some(requests) = memory.sessions.get_mut(&self.session) else { return };
        requests.in_flight -= 1;
        if requests.in_flight == 0 && requests.overlapped_at.is_none() {
            memory.sessions.remove(&self.session);
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
    fn requests_one_after_another_are_not_simultaneous() {
        let refreshes = ConcurrentRefreshes::default();
        for _ in 0..20 {
            assert!(!refreshes.enter(session(1), SECOND).is_simultaneous);
        }
        assert!(refreshes.lock().sessions.is_empty());
    }

    #[test]
    fn the_second_in_flight_is_simultaneous_and_so_are_latecomers_for_a_while() {
        let refreshes = ConcurrentRefreshes::default();
        let first = refreshes.enter(session(1), SECOND);
        assert!(!first.is_simultaneous);
        assert!(refreshes.enter(session(1), SECOND).is_simultaneous);
        drop(first);
        assert!(refreshes.enter(session(1), SECOND * 5).is_simultaneous);
        assert!(!refreshes.enter(session(1), SECOND + LINGERS_FOR).is_simultaneous);
    }

    #[test]
    fn requests_for_different_sessions_are_not_simultaneous() {
        let refreshes = ConcurrentRefreshes::default();
        let _one = refreshes.enter(session(1), SECOND);
        assert!(!refreshes.enter(session(2), SECOND).is_simultaneous);
    }

    #[test]
    fn sessions_without_requests_are_forgotten() {
        let refreshes = ConcurrentRefreshes::default();
        for n in 0..10_000 {
            let now = LINGERS_FOR * u32::try_from(n).unwrap() / 100;
            let _first = refreshes.enter(session(n), now);
            let _second = refreshes.enter(session(n), now);
        }
        assert!(refreshes.lock().sessions.len() <= FORGET_AT);
        // The latest session is not forgotten with the others.
        assert!(refreshes.enter(session(9_999), LINGERS_FOR * 100).is_simultaneous);
    }
}
