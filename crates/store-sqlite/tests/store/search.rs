//! Finding people in a file of many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mintgate_domain::model::{Profile, SearchText};
use mintgate_domain::ports::{Clock, StoreError, UserAdministration};
use mintgate_store_sqlite::SqliteStore;
use mintgate_testkit::NoMetrics;
use mintgate_testkit::openings::{Openings, identity};
use mintgate_testkit::{ManualClock, StoreCalls};
use time::OffsetDateTime;

use crate::harness::{config, fresh_store, open};

macro_rules! migration {
    ($file:literal) => {
        include_str!(concat!("../../../../migrations/sqlite/0010_administration/", $file))
    };
}

/// A clock by which seven seconds go by between two looks at it.
#[derive(Default)]
struct Hurrying {
    looks: AtomicU64,
    date: ManualClock,
}

impl Clock for Hurrying {
    fn now(&self) -> OffsetDateTime {
        self.date.now()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(7 * self.looks.fetch_add(1, Ordering::Relaxed))
    }
}

/// More people than one statement looks at.
const MANY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4500)
    INSERT INTO users (id, created_at, searched)
    SELECT unhex(printf('%032x', i)), 0, char(10) || printf('person %d', i) || char(10) FROM n";

#[tokio::test]
async fn a_search_goes_through_everybody_step_by_step() {
    let test = fresh_store().await;
    test.execute(MANY);
    let all = test.store.find_accounts(None, None, 5000).await.unwrap();
    assert_eq!(all.len(), 4500);
    let find = async |text: &str, after, limit| {
        let search = SearchText::whole(text).unwrap();
        let found = test.store.find_accounts(Some(&search), after, limit).await.unwrap();
        found.into_iter().map(|account| account.user.id).collect::<Vec<_>>()
    };
    for n in [0, 1999, 2000, 2001, 4499] {
        assert_eq!(find(&format!("PERSON {}", n + 1), None, 10).await, [all[n].user.id]);
        assert_eq!(find(&format!("PERSON {}", n + 1), Some(all[n].user.id), 10).await, []);
    }
    let search = SearchText::part("person").unwrap();
    let (mut seen, mut after) = (vec![], None);
    loop {
        let page = test.store.find_accounts(Some(&search), after, 700).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.user.id);
        seen.extend(page);
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_search_that_takes_too_long_ends() {
    let test = fresh_store().await;
    let clock = Arc::new(Hurrying::default());
    let slow = SqliteStore::open(&config(&test.directory), Arc::new(NoMetrics), clock).unwrap();
    let found = slow.find_accounts(None, None, 10).await;
    assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
}

/// Whoever searches has one connection, and a file that is locked for writing is read all the same.
#[tokio::test]
async fn searches_wait_for_one_another_and_for_nobody_else() {
    let test = fresh_store().await;
    test.execute(MANY);
    let store = open(&config(&test.directory));
    test.execute("BEGIN IMMEDIATE");
    let search = SearchText::part("person 4500").unwrap();
    let searches = (0..20).map(|_| store.find_accounts(Some(&search), None, 10));
    for found in futures_util::future::join_all(searches).await {
        assert_eq!(found.unwrap().len(), 1);
    }
    test.execute("ROLLBACK");
}

#[tokio::test]
async fn who_had_a_profile_before_it_was_searched_is_found_too() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let mut opening = openings.new_user(identity("ada"));
    let some = |text: &str| Some(text.to_owned());
    opening.profile =
        Some(Profile { name: some("Ada L."), email: some("Ada@acme.com"), ..Profile::default() });
    test.store.open_session(&opening).await.unwrap();
    test.store.open_session(&openings.new_user(identity("nameless"))).await.unwrap();
    test.execute(migration!("down.sql"));
    test.execute(migration!("up.sql"));
    for (text, whole) in [("a l", false), ("ADA L.", true), ("ada@ACME.com", true)] {
        let search = if whole { SearchText::whole(text) } else { SearchText::part(text) };
        let found = test.store.find_accounts(Some(&search.unwrap()), None, 10).await.unwrap();
        let found: Vec<_> = found.iter().map(|account| account.user.id).collect();
        assert_eq!(found, [opening.user_id()], "{text}");
    }
}
