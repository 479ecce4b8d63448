//! The contract of [`SharedCounts`].

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use mintgate_domain::model::{CountKey, CountReport, ReplicaId, SharedCount};
use mintgate_domain::ports::SharedCounts;

/// A way around the port, into what is stored.
#[async_trait]
pub trait CountsUnderTest: Send + Sync {
    /// The port.
    fn counts(&self) -> &dyn SharedCounts;

    /// Lets time go by for all reports that are stored.
    async fn age(&self, by: Duration);

    /// How many reports are stored.
    async fn stored(&self) -> usize;
}

/// One test for each case; the argument is an async function that gives a fresh [`CountsUnderTest`].
#[macro_export]
macro_rules! shared_counts_suite {
    ($fresh:path) => {
        $crate::shared_counts_suite!(
            @cases $fresh,
            what_one_process_counts_the_others_learn_once,
            a_report_that_is_passed_on_again_changes_nothing,
            a_process_that_starts_learns_the_last_minute,
            a_report_ages_and_is_forgotten,
            a_report_without_counts_is_not_stored,
            many_processes_at_once_all_learn_from_one_another,
            a_long_answer_loses_nothing,
        );
    };
    (@cases $fresh:path, $($case:ident,)+) => {$(
        #[tokio::test]
        async fn $case() {
            $crate::shared_counts_suite::$case(&$fresh().await).await;
        }
    )+};
}

const A: ReplicaId = [1; 16];
const B: ReplicaId = [2; 16];
const C: ReplicaId = [3; 16];

fn count(key: u8, count: i32) -> SharedCount {
    let limit = "logins of 'caf\u{e9}', {}".to_owned();
    SharedCount { limit, key: CountKey([key; 16]), count, age: Duration::from_millis(250) }
}

fn report(replica: ReplicaId, number: u64, counts: Vec<SharedCount>) -> CountReport {
    CountReport { replica, number, counts }
}

async fn said(
    test: &dyn CountsUnderTest,
    report: &CountReport,
    known: &[(ReplicaId, u64)],
) -> Vec<CountReport> {
    test.counts().exchange(report, known).await.expect("an answer")
}

/// What a process that says nothing learns: of whom, which report, and how many requests.
async fn learned(
    test: &dyn CountsUnderTest,
    replica: ReplicaId,
    known: &[(ReplicaId, u64)],
) -> Vec<(ReplicaId, u64, i32)> {
    let others = said(test, &report(replica, 0, vec![]), known).await;
    let sum = |one: &CountReport| one.counts.iter().map(|count| count.count).sum();
    others.iter().map(|one| (one.replica, one.number, sum(one))).collect()
}

/// Each process learns what the others counted, with all that belongs to it, and not what it knows.
pub async fn what_one_process_counts_the_others_learn_once(test: &dyn CountsUnderTest) {
    let first = report(A, 1, vec![count(7, 30), count(8, -2)]);
    assert_eq!(said(test, &first, &[]).await, []);
    let of_b = report(B, 1, vec![count(7, 40)]);
    let mut learned_by_b = said(test, &of_b, &[]).await;
    for count in learned_by_b.iter_mut().flat_map(|one| &mut one.counts) {
        assert!(count.age >= Duration::from_millis(250), "{count:?}");
        assert!(count.age < Duration::from_secs(20), "{count:?}");
        count.age = Duration::from_millis(250);
    }
    assert_eq!(learned_by_b, [first]);
    assert_eq!(learned(test, B, &[(A, 1)]).await, []);
    said(test, &report(A, 2, vec![count(7, 5)]), &[(B, 1)]).await;
    assert_eq!(learned(test, B, &[(A, 1)]).await, [(A, 2, 5)]);
    assert_eq!(learned(test, A, &[]).await, [(B, 1, 40)], "not its own");
    assert_eq!(learned(test, A, &[(B, 0), (C, 9)]).await, [(B, 1, 40)]);
}

/// The answer to the first was lost.
pub async fn a_report_that_is_passed_on_again_changes_nothing(test: &dyn CountsUnderTest) {
    said(test, &report(A, 1, vec![count(7, 30)]), &[]).await;
    said(test, &report(A, 1, vec![count(7, 30)]), &[]).await;
    assert_eq!(learned(test, B, &[]).await, [(A, 1, 30)]);
}

/// Also what a process counted that lives no more: its own former one, for example.
pub async fn a_process_that_starts_learns_the_last_minute(test: &dyn CountsUnderTest) {
    for number in 1..4 {
        said(test, &report(A, number, vec![count(7, 10)]), &[]).await;
        test.age(Duration::from_secs(25)).await;
    }
    assert_eq!(learned(test, C, &[]).await, [(A, 2, 10), (A, 3, 10)]);
}

/// How long ago a count was made is known to whoever learns of it; later nobody does.
pub async fn a_report_ages_and_is_forgotten(test: &dyn CountsUnderTest) {
    said(test, &report(A, 1, vec![count(7, 30)]), &[]).await;
    test.age(Duration::from_secs(30)).await;
    let others = said(test, &report(B, 0, vec![]), &[]).await;
    let age = others[0].counts[0].age;
    assert!((Duration::from_secs(30)..Duration::from_secs(50)).contains(&age), "{age:?}");
    test.age(Duration::from_secs(30)).await;
    assert_eq!(learned(test, B, &[]).await, []);
    test.age(Duration::from_mins(1)).await;
    learned(test, B, &[]).await;
    assert_eq!(test.stored().await, 0);
}

/// A process without much to do does not write.
pub async fn a_report_without_counts_is_not_stored(test: &dyn CountsUnderTest) {
    said(test, &report(A, 1, vec![]), &[]).await;
    assert_eq!(test.stored().await, 0);
}

/// None waits for another, and none is left out.
pub async fn many_processes_at_once_all_learn_from_one_another(test: &dyn CountsUnderTest) {
    let processes = (1..=8_u8).map(|id| async move {
        for number in 1..=5 {
            said(test, &report([id; 16], number, vec![count(7, 1)]), &[]).await;
        }
    });
    join_all(processes).await;
    let of_all = learned(test, [9; 16], &[]).await;
    assert_eq!(of_all.len(), 40);
    assert_eq!(learned(test, [1; 16], &[]).await.len(), 35);
}

/// Reports with as many counts as there may be, and more reports than one answer has.
pub async fn a_long_answer_loses_nothing(test: &dyn CountsUnderTest) {
    let most: Vec<_> = (0..CountReport::MAX_COUNTS).map(|_| count(7, 1)).collect();
    said(test, &report(B, 1, most), &[]).await;
    for number in 1..=150 {
        said(test, &report(A, number, vec![count(7, 1)]), &[]).await;
    }
    let (mut known, mut sum) = (vec![(A, 0), (B, 0)], 0);
    loop {
        let others = learned(test, C, &known).await;
        if others.is_empty() {
            break;
        }
        for (replica, number, counted) in others {
            let mark = known.iter_mut().find(|(known, _)| *known == replica).expect("A or B");
            assert!(mark.1 < number, "{number} after {}", mark.1);
            mark.1 = number;
            sum += counted;
        }
    }
    assert_eq!(sum, 1150);
}
