//! A circuit breaker: the state machine alone, without what it protects, locks or waits.

use std::time::Duration;

use mintgate_domain::ports::CircuitState;

/// Opens after a number of failures in a row, then lets no call through for a while, then one call at
/// a time as a trial, until one succeeds. Times are those of a monotonic clock.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures_to_open: u32,
    open_for: Duration,
    circuit: Circuit,
}

#[derive(Debug)]
enum Circuit {
    Closed { failures: u32 },
    Open { since: Duration },
    HalfOpen { trial_under_way: bool },
}

/// The circuit is open: the call must not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CircuitOpen;

/// How a call that was made stands to the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The circuit was closed, or was not asked.
    Normal,
    /// The call is the trial that decides whether the circuit closes.
    Trial,
}

/// The conclusion from a call about the service behind the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// The call shows that the service works.
    Success,
    /// The call shows that the service is down.
    Failure,
    /// Neither: the call may have been answered without the service, or its caller went away.
    Unknown,
}

impl Breaker {
    /// A closed circuit. `failures_to_open` is at least 1.
    pub(crate) fn new(failures_to_open: u32, open_for: Duration) -> Self {
        Self { failures_to_open, open_for, circuit: Circuit::Closed { failures: 0 } }
    }

    /// The state of the circuit, for metrics.
    pub(crate) fn state(&self) -> CircuitState {
        match self.circuit {
            Circuit::Closed { .. } => CircuitState::Closed,
            Circuit::Open { .. } => CircuitState::Open,
            Circuit::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// How a call made now would be admitted. Changes nothing.
    pub(crate) fn check(&self, now: Duration) -> Result<Admission, CircuitOpen> {
        match self.circuit {
            Circuit::Closed { .. } => Ok(Admission::Normal),
            Circuit::HalfOpen { trial_under_way: false } => Ok(Admission::Trial),
            Circuit::Open { since } if now.saturating_sub(since) >= self.open_for => {
                Ok(Admission::Trial)
            }
            Circuit::Open { .. } | Circuit::HalfOpen { trial_under_way: true } => Err(CircuitOpen),
        }
    }

    /// Admits a call. Every admitted call must be recorded.
    pub(crate) fn admit(&mut self, now: Duration) -> Result<Admission, CircuitOpen> {
        let admission = self.check(now)?;
        if admission == Admission::Trial {
            self.circuit = Circuit::HalfOpen { trial_under_way: true };
        }
        Ok(admission)
    }

    /// Records the outcome of an admitted call, which may open or close the circuit.
    pub(crate) fn record(&mut self, admission: Admission, outcome: CallOutcome, now: Duration) {
        use Admission::{Normal, Trial};
        use CallOutcome::{Failure, Success, Unknown};
        match (&mut self.circuit, admission, outcome) {
            (Circuit::Closed { failures }, _, Success) => *failures = 0,
            (Circuit::Closed { failures }, _, Failure) => {
                *failures += 1;
                if *failures >= self.failures_to_open {
                    self.circuit = Circuit::Open { since: now };
                }
            }
            (Circuit::HalfOpen { .. }, Trial, Success) => {
                self.circuit = Circuit::Closed { failures: 0 };
            }
            (Circuit::HalfOpen { .. }, Trial, Failure) => {
                self.circuit = Circuit::Open { since: now };
            }
            (Circuit::HalfOpen { trial_under_way }, Trial, Unknown) => *trial_under_way = false,
            // A call from before the circuit opened says nothing about now.
            (Circuit::Closed { .. }, _, Unknown)
            | (Circuit::HalfOpen { .. }, Normal, _)
            | (Circuit::Open { .. }, _, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(10);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// A circuit that three failures opened at the time 0.
    fn open() -> Breaker {
        let mut breaker = Breaker::new(3, OPEN_FOR);
        for _ in 0..3 {
            assert_eq!(breaker.admit(secs(0)), Ok(Admission::Normal));
            breaker.record(Admission::Normal, CallOutcome::Failure, secs(0));
        }
        assert_eq!(breaker.state(), CircuitState::Open);
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_the_circuit() {
        let mut breaker = Breaker::new(2, OPEN_FOR);
        let mut record = |outcome| {
            breaker.record(Admission::Normal, outcome, secs(0));
            breaker.state()
        };
        assert_eq!(record(CallOutcome::Failure), CircuitState::Closed);
        assert_eq!(record(CallOutcome::Success), CircuitState::Closed);
        assert_eq!(record(CallOutcome::Failure), CircuitState::Closed);
        assert_eq!(record(CallOutcome::Unknown), CircuitState::Closed);
        assert_eq!(record(CallOutcome::Failure), CircuitState::Open);
    }

    #[test]
    fn an_open_circuit_admits_one_trial_when_its_time_has_passed() {
        let mut breaker = open();
        assert_eq!(breaker.admit(secs(9)), Err(CircuitOpen));
        assert_eq!(breaker.admit(secs(10)), Ok(Admission::Trial));
        assert_eq!(breaker.admit(secs(10)), Err(CircuitOpen));
        assert_eq!(breaker.state(), CircuitState::HalfOpen);
    }

    #[test]
    fn the_trial_alone_decides() {
        let trial = |outcome| {
            let mut breaker = open();
            breaker.admit(secs(10)).unwrap();
            breaker.record(Admission::Normal, CallOutcome::Success, secs(10));
            breaker.record(Admission::Normal, CallOutcome::Failure, secs(10));
            assert_eq!(breaker.state(), CircuitState::HalfOpen);
            breaker.record(Admission::Trial, outcome, secs(11));
            breaker
        };
        assert_eq!(trial(CallOutcome::Success).check(secs(11)), Ok(Admission::Normal));
        assert_eq!(trial(CallOutcome::Unknown).check(secs(11)), Ok(Admission::Trial));
        let again = trial(CallOutcome::Failure);
        assert_eq!(again.check(secs(20)), Err(CircuitOpen));
        assert_eq!(again.check(secs(21)), Ok(Admission::Trial));
    }

    #[test]
    fn a_call_from_before_the_circuit_opened_changes_nothing() {
        let mut breaker = open();
        breaker.record(Admission::Normal, CallOutcome::Success, secs(1));
        breaker.record(Admission::Normal, CallOutcome::Failure, secs(5));
        assert_eq!(breaker.check(secs(10)), Ok(Admission::Trial));
    }
}
