//! Time.

use std::time::Duration;

use time::OffsetDateTime;

/// The two clocks of a machine. Nothing in Mintgate reads time any other way.
pub trait Clock: Send + Sync {
    /// The date and time now, in UTC.
    fn now(&self) -> OffsetDateTime;

    /// Time since some fixed instant; MUST never go backwards. For measuring, not for dates.
    fn monotonic(&self) -> Duration;
}
