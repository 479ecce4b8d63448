//! The last hour of sign-ins and refreshes, a minute at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{Clock, CountReader, Counts};

/// How long each entry of the history is.
const MINUTE: Duration = Duration::from_mins(1);
/// How many whole minutes are kept.
const MINUTES: usize = 60;

type SignIns = BTreeMap<(String, String), u64>;
type Refreshes = BTreeMap<String, u64>;

/// What happened in one minute; what did not happen is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Minute {
    /// When the minute began; it ends 60 s later.
    pub(super) from: Timestamp,
    /// Requests for tokens by provider and outcome.
    pub(super) sign_ins: SignIns,
    /// Refreshes by outcome.
    pub(super) refreshes: Refreshes,
}

/// The minutes since the process began to listen, an hour at most.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    minutes: VecDeque<Minute>,
    /// Since when the present minute is, and what had been counted then.
    present: Option<(Timestamp, Counts)>,
}

impl History {
    /// Ends the present minute and begins another one.
    fn turn(&self, now: Timestamp, counts: Counts) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(minute) = kept.present(&counts) {
            if kept.minutes.len() == MINUTES {
                kept.minutes.pop_front();
            }
            kept.minutes.push_back(minute);
        }
        kept.present = Some((now, counts));
    }

    /// Every minute in order, the present one last; `counts` are the numbers of now.
    pub(super) fn until_now(&self, counts: &Counts) -> Vec<Minute> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.minutes.iter().cloned().chain(kept.present(counts)).collect()
    }

    /// Begins the first minute at once, before the future is polled, and turns the minutes for ever.
    pub(crate) fn run(
        self: Arc<Self>,
        clock: Arc<dyn Clock>,
        counts: Arc<dyn CountReader>,
    ) -> impl Future<Output = ()> {
        self.turn(clock.now().into(), counts.counts());
        async move {
            loop {
                tokio::time::sleep(MINUTE).await;
                self.turn(clock.now().into(), counts.counts());
            }
        }
    }
}

impl Kept {
    fn present(&self, counts: &Counts) -> Option<Minute> {
        let (from, before) = self.present.as_ref()?;
        Some(Minute {
            from: *from,
            sign_ins: grown(&counts.sign_ins, &before.sign_ins),
            refreshes: grown(&counts.refreshes, &before.refreshes),
        })
    }
}

/// By how much each number has grown, where it has.
fn grown<K: Ord + Clone>(now: &BTreeMap<K, u64>, before: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let differences = now.iter().map(|(key, count)| {
        let before = before.get(key).copied().unwrap_or_default();
        (key.clone(), count.saturating_sub(before))
    });
    differences.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rotated: u64, denied: u64) -> Counts {
        let corp = ("corp".to_owned(), "access_denied".to_owned());
        Counts {
            sign_ins: BTreeMap::from([(corp, denied)]),
            refreshes: BTreeMap::from([("rotated".to_owned(), rotated), ("reused".to_owned(), 0)]),
            ..Counts::default()
        }
    }

    #[test]
    fn each_minute_has_what_happened_in_it_and_an_hour_is_kept() {
        let history = History::default();
        assert_eq!(history.until_now(&counts(9, 9)), []);
        let at = |minute: i64| Timestamp::from_unix(minute * 60);
        history.turn(at(0), counts(5, 0));
        history.turn(at(1), counts(8, 1));
        let minutes = history.until_now(&counts(8, 3));
        assert_eq!(minutes.len(), 2);
        assert_eq!(minutes[0].from, at(0));
        assert_eq!(minutes[0].refreshes, BTreeMap::from([("rotated".to_owned(), 3)]));
        assert_eq!(minutes[0].sign_ins.values().sum::<u64>(), 1);
        assert_eq!(minutes[1].from, at(1));
        assert!(minutes[1].refreshes.is_empty());
        assert_eq!(minutes[1].sign_ins.values().sum::<u64>(), 2);
        for minute in 2..200 {
            history.turn(at(minute), counts(8, 3));
        }
        let minutes = history.until_now(&counts(8, 3));
        assert_eq!(minutes.len(), MINUTES + 1);
        assert_eq!(minutes[MINUTES].from, at(199));
    }
}
