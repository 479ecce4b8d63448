//! Whole seconds since 1970 to and from Postgres' microseconds since 2000.

use std::time::Duration;

use diesel::data_types::PgTimestamp;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::StoreError;

/// 2000-01-01T00:00:00Z, from which Postgres counts, in seconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800;
const MICROS: i64 = 1_000_000;
/// 0001-01-01T00:00:00Z, the earliest time that is stored, in seconds since 1970.
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z, the latest time that is stored, in seconds since 1970.
const LAST_SECOND: i64 = 253_402_300_799;

/// The time as a column keeps it.
///
/// # Errors
/// [`StoreError::Corrupt`] if Postgres has no such time.
pub(crate) fn to_postgres(at: Timestamp) -> Result<PgTimestamp, StoreError> {
    let since_epoch = at.as_unix().checked_sub(POSTGRES_EPOCH);
    let micros = since_epoch.and_then(|seconds| seconds.checked_mul(MICROS));
    let out_of_range = || StoreError::Corrupt("a time to be stored is out of range".into());
    micros.map(PgTimestamp).ok_or_else(out_of_range)
}

/// A time that is only compared with: one beyond the calendar means the same as the calendar's end.
pub(crate) fn bound(at: Timestamp) -> PgTimestamp {
    let seconds = at.as_unix().clamp(FIRST_SECOND, LAST_SECOND);
    PgTimestamp((seconds - POSTGRES_EPOCH) * MICROS)
}

/// The whole second; `None` for Postgres' two infinities.
pub(crate) fn from_postgres(at: PgTimestamp) -> Option<Timestamp> {
    let is_finite = at.0 != i64::MAX && at.0 != i64::MIN;
    is_finite.then(|| Timestamp::from_unix(at.0.div_euclid(MICROS) + POSTGRES_EPOCH))
}

/// How long `earlier` was before `later`; zero if it was not.
pub(crate) fn between(earlier: PgTimestamp, later: PgTimestamp) -> Duration {
    Duration::from_micros(later.0.saturating_sub(earlier.0).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_survive_the_way_there_and_back() {
        for seconds in [-1, 0, POSTGRES_EPOCH - 1, POSTGRES_EPOCH, 1_800_000_000, 253_402_300_799] {
            let at = Timestamp::from_unix(seconds);
            assert_eq!(from_postgres(to_postgres(at).unwrap()), Some(at));
        }
    }

    #[test]
    fn a_bound_beyond_the_calendar_is_its_end() {
        for (seconds, end) in [(i64::MIN, FIRST_SECOND), (7, 7), (i64::MAX, LAST_SECOND)] {
            let read = from_postgres(bound(Timestamp::from_unix(seconds)));
            assert_eq!(read, Some(Timestamp::from_unix(end)));
        }
    }

    #[test]
    fn a_time_that_does_not_fit_is_refused() {
        assert!(to_postgres(Timestamp::from_unix(i64::MAX)).is_err());
        assert_eq!(from_postgres(PgTimestamp(i64::MAX)), None);
        assert_eq!(from_postgres(PgTimestamp(i64::MIN)), None);
    }
}
