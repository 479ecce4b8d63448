//! The last refusals of the public listener, for whoever looks at the console.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use mintgate_domain::model::Timestamp;

/// How many refusals of each error code are kept: a flood of one code does not push out the others.
const OF_EACH_CODE: usize = 8;
/// How long a reason may be, in bytes.
const MAX_REASON: usize = 400;

/// A request that was refused, or that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) at: Timestamp,
    pub(crate) method: String,
    /// The pattern of the route, or why there is none.
    pub(crate) route: String,
    pub(crate) status: u16,
    pub(crate) error_code: &'static str,
    /// The real reason, which only operators see.
    pub(crate) reason: Option<String>,
    /// The id of the request, which its caller may have chosen.
    pub(crate) request_id: String,
    pub(crate) provider: Option<String>,
    /// The caller's network: an IPv4 /24 or an IPv6 /48.
    pub(crate) network: Option<String>,
    pub(crate) user_agent: Option<String>,
}

/// Keeps the last refusals in memory, in bounded space.
#[derive(Debug, Default)]
pub(crate) struct RecentRefusals(Mutex<BTreeMap<&'static str, OfCode>>);

#[derive(Debug, Default)]
struct OfCode {
    count: u64,
    last: VecDeque<Refusal>,
}

impl RecentRefusals {
    /// Keeps a refusal, and forgets the oldest of its error code if there are too many.
    pub(crate) fn keep(&self, mut refusal: Refusal) {
        if let Some(reason) = &mut refusal.reason {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
        }
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_code = codes.entry(refusal.error_code).or_default();
        of_code.count = of_code.count.saturating_add(1);
        if of_code.last.len() == OF_EACH_CODE {
            of_code.last.pop_front();
        }
        of_code.last.push_back(refusal);
    }

    /// The refusals that are kept, the newest first.
    pub(crate) fn last(&self) -> Vec<Refusal> {
        let codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Refusal> =
            codes.values().flat_map(|it| it.last.iter().rev()).cloned().collect();
        all.sort_by_key(|refusal| std::cmp::Reverse(refusal.at));
        all
    }

    /// How many there were of each code since the start.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.iter().map(|(code, of_code)| (*code, of_code.count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(error_code: &'static str, second: i64) -> Refusal {
        Refusal {
            at: Timestamp::from_unix(second),
            method: "POST".to_owned(),
            route: "/".to_owned(),
            status: 400,
            error_code,
            reason: Some("ä".repeat(900)),
            request_id: second.to_string(),
            provider: None,
            network: None,
            user_agent: None,
        }
    }

    #[test]
    fn a_flood_of_one_code_neither_grows_without_bound_nor_hides_another() {
        let refusals = RecentRefusals::default();
        refusals.keep(refusal("ACCESS_DENIED", 1));
        for second in 2..1000 {
            refusals.keep(refusal("INVALID_AUTH_CODE", second));
        }
        let last = refusals.last();
        assert_eq!(last.len(), OF_EACH_CODE + 1);
        assert_eq!(last[0].request_id, "999");
        assert_eq!(last[OF_EACH_CODE].error_code, "ACCESS_DENIED");
        assert!(last.iter().all(|it| it.reason.as_ref().unwrap().len() <= MAX_REASON));
        let counts = refusals.counts();
        assert_eq!((counts["ACCESS_DENIED"], counts["INVALID_AUTH_CODE"]), (1, 998));
    }
}
