//! Moments of the monotonic clock that can lie before its beginning: another process has counted then.

use std::time::Duration;

/// A moment or a span, in nanoseconds.
pub(crate) type Nanos = i64;

/// A minute.
pub(crate) const MINUTE: Nanos = 60_000_000_000;

/// A span, or the moment so long after the clock's beginning; 292 years at most.
pub(crate) fn nanos(span: Duration) -> Nanos {
    span.as_nanos().try_into().unwrap_or(i64::MAX)
}

/// How long a moment is ago; nothing if it is to come.
pub(crate) fn age(moment: Nanos, now: Nanos) -> Duration {
    span(now.saturating_sub(moment))
}

/// A span; nothing if it is negative.
pub(crate) fn span(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos.try_into().unwrap_or_default())
}
