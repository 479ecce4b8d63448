//! A clock that stands still until a test moves it.

use std::sync::Mutex;
use std::time::Duration;

use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::Clock;
use time::OffsetDateTime;

/// A settable [`Clock`]. Its date and its monotonic time move together, but for [`ManualClock::set`].
#[derive(Debug)]
pub struct ManualClock(Mutex<(OffsetDateTime, Duration)>);

impl ManualClock {
    /// Makes a clock that stands at this second.
    pub fn at(now: Timestamp) -> Self {
        let now = now.to_datetime().expect("a year the calendar holds");
        Self(Mutex::new((now, Duration::from_secs(1))))
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        let mut clock = self.0.lock().unwrap();
        clock.0 += span;
        clock.1 += span;
    }

    /// Jumps to another date, as an operator who sets the clock does; monotonic time stays.
    pub fn set(&self, now: Timestamp) {
        self.0.lock().unwrap().0 = now.to_datetime().expect("a year the calendar holds");
    }
}

impl Default for ManualClock {
    /// A clock that stands at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_unix(1_767_225_600))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        self.0.lock().unwrap().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}
