//! Reading the time.

use std::time::Duration;

use time::OffsetDateTime;

/// The wall clock and the monotonic clock of a machine. Mintgate reads time through this port only,
/// so a test decides what time it is.
///
/// ```
/// use std::time::Duration;
///
/// use mintgate_domain::model::Timestamp;
/// use mintgate_domain::ports::Clock;
/// use time::OffsetDateTime;
///
/// struct StoppedClock;
///
/// impl Clock for StoppedClock {
///     fn now(&self) -> OffsetDateTime {
///         OffsetDateTime::UNIX_EPOCH + Duration::from_secs(60)
///     }
///
///     fn monotonic(&self) -> Duration {
///         Duration::ZERO
///     }
/// }
///
/// assert_eq!(Timestamp::from(StoppedClock.now()), Timestamp::from_unix(60));
/// ```
pub trait Clock: Send + Sync {
    /// The current date and time, in UTC. An operator may set this clock back.
    fn now(&self) -> OffsetDateTime;

    /// The time since a fixed instant, for measuring durations. MUST never decrease.
    fn monotonic(&self) -> Duration;
}
