//! Times as other systems write them: seconds, milliseconds, ISO 8601.

use mintgate_domain::model::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// 2000-01-01T00:00:00Z: whatever is older is a mistake.
const EARLIEST: i64 = 946_684_800;
/// 9999-12-31T23:59:59Z.
const LATEST: i64 = 253_402_300_799;

/// Reads a time: seconds or milliseconds since 1970, or ISO 8601, in UTC where it has no zone. The ranges
/// of seconds and milliseconds do not meet: what is one cannot be the other.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Timestamp, &'static str> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return number_of(number);
    }
    let at = OffsetDateTime::parse(&as_rfc_3339(text).ok_or(NO_TIME)?, &Rfc3339);
    plausible(at.map_err(|_| NO_TIME)?.unix_timestamp())
}

/// Reads a number of seconds or milliseconds since 1970.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn number_of(number: i64) -> Result<Timestamp, &'static str> {
    if (EARLIEST * 1000..=LATEST * 1000 + 999).contains(&number) {
        return Ok(Timestamp::from_unix(number / 1000));
    }
    plausible(number)
}

/// A time that lies in the past, or as little in the future as clocks differ.
///
/// # Errors
/// If it does not.
pub(crate) fn past(at: Timestamp, now: Timestamp) -> Result<Timestamp, &'static str> {
    if at.as_unix() > now.as_unix() + 86_400 {
        return Err("it lies in the future");
    }
    Ok(at)
}

const NO_TIME: &str = "it is neither seconds nor milliseconds since 1970 nor an ISO 8601 time";

fn plausible(seconds: i64) -> Result<Timestamp, &'static str> {
    if !(EARLIEST..=LATEST).contains(&seconds) {
        return Err("it is not between the years 2000 and 9999");
    }
    Ok(Timestamp::from_unix(seconds))
}

/// `2026-01-02`, `2026-01-02 03:04:05`, `…+00`, `…+0000` as RFC 3339 writes them.
fn as_rfc_3339(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(10)?;
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at_checked(zone_at)?;
    let zone = match (zone.len(), zone) {
        (0, _) | (1, "Z" | "z") => "Z".to_owned(),
        (3, zone) => format!("{zone}:00"),
        (5, zone) => format!("{}:{}", zone.get(..3)?, zone.get(3..)?),
        (_, zone) => zone.to_owned(),
    };
    Some(format!("{date}T{time}{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_is_read_however_it_is_written() {
        for text in [
            "1767323045",
            "1767323045678",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.678Z",
            "2026-01-02 03:04:05",
            "2026-01-02 03:04:05.678+00",
            "2026-01-02T05:04:05+02:00",
            "2026-01-02T05:04:05+0200",
            " 2026-01-02t03:04:05z ",
        ] {
            assert_eq!(parse(text).map(Timestamp::as_unix), Ok(1_767_323_045), "{text}");
        }
        assert_eq!(parse("2026-01-02").map(Timestamp::as_unix), Ok(1_767_312_000));
    }

    #[test]
    fn a_time_that_cannot_be_is_an_error() {
        for text in [
            "0",
            "-1",
            "17673230",
            "1767323045678901",
            "1970-01-01T00:00:00Z",
            "57000-01-01T00:00:00Z",
            "1999-12-31T23:59:59Z",
            "yesterday",
            "2026-13-02",
            "2026-01-02T03:04",
            "",
            "äääääääääää",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let now = Timestamp::from_unix(1_767_323_045);
        assert!(past(Timestamp::from_unix(1_767_323_045 + 90_000), now).is_err());
        assert!(past(Timestamp::from_unix(1_767_323_045 + 60), now).is_ok());
    }
}
