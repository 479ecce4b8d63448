//! Points in time as tokens and stores know them: whole seconds since 1970, UTC.

use std::ops::{Add, Sub};
use std::time::Duration;

use time::OffsetDateTime;

/// Whole seconds since 1970-01-01T00:00:00Z (a NumericDate, RFC 7519 §2).
///
/// Whole seconds on purpose: a refresh token is re-minted byte for byte from
/// the stored state, so nothing finer than a token can carry may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From seconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn as_unix(self) -> i64 {
        self.0
    }

    /// The same instant as a date, or `None` outside the years the calendar type holds.
    pub fn to_datetime(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(self.0).ok()
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(at: OffsetDateTime) -> Self {
        Self(at.unix_timestamp())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(span.as_secs()))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub_unsigned(span.as_secs()))
    }
}
