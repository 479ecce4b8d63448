//! Whole seconds since 1970 to and from Postgres' microseconds since 2000.

use diesel::data_types::PgTimestamp;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::StoreError;

/// 2000-01-01T00:00:00Z
const POSTGRES_EPOCH: i64 = 946_684_800;
const MICROS: i64 = 1_000_000;
/// 0001-01-01T00:00:00Z
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z
const LAST_SECOND: i64 = 253_402_300_799;

pub(crate) fn to_postgres(at: Timestamp, column: &str) -> Result<PgTimestamp, StoreError> {
    let since_epoch = at.as_unix().checked_sub(POSTGRES_EPOCH);
    let micros = since_epoch.and_then(|seconds| seconds.checked_mul(MICROS));
    micros.map(PgTimestamp).ok_or_else(|| out_of_range(column))
}

/// For a bound that is only compared with: one that is out of the calendar's range means the same
/// as its end.
pub(crate) fn bound(at: Timestamp) -> PgTimestamp {
    let seconds = at.as_unix().clamp(FIRST_SECOND, LAST_SECOND);
    PgTimestamp((seconds - POSTGRES_EPOCH) * MICROS)
}

pub(crate) fn from_postgres(at: PgTimestamp, column: &str) -> Result<Timestamp, StoreError> {
    // The two ends are Postgres' infinities.
    if at.0 == i64::MAX || at.0 == i64::MIN {
        return Err(out_of_range(column));
    }
    Ok(Timestamp::from_unix(at.0.div_euclid(MICROS) + POSTGRES_EPOCH))
}

fn out_of_range(column: &str) -> StoreError {
    StoreError::Corrupt(format!("{column} is out of range").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_survive_the_way_there_and_back() {
        for seconds in [-1, 0, POSTGRES_EPOCH - 1, POSTGRES_EPOCH, 1_800_000_000, 253_402_300_799] {
            let at = Timestamp::from_unix(seconds);
            assert_eq!(from_postgres(to_postgres(at, "at").unwrap(), "at"), Ok(at));
        }
    }

    #[test]
    fn a_bound_beyond_the_calendar_is_its_end() {
        for (seconds, end) in [(i64::MIN, FIRST_SECOND), (7, 7), (i64::MAX, LAST_SECOND)] {
            let read = from_postgres(bound(Timestamp::from_unix(seconds)), "at");
            assert_eq!(read, Ok(Timestamp::from_unix(end)));
        }
    }

    #[test]
    fn what_does_not_fit_names_its_column() {
        let corrupt = Err(StoreError::Corrupt("at is out of range".into()));
        assert_eq!(to_postgres(Timestamp::from_unix(i64::MAX), "at").err(), corrupt.clone().err());
        assert_eq!(from_postgres(PgTimestamp(i64::MAX), "at"), corrupt);
        assert_eq!(from_postgres(PgTimestamp(i64::MIN), "at"), corrupt);
    }
}
