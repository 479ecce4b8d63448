//! Finding people, beside everything else.

use std::time::Duration;

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{Profile, SearchText};
use mintgate_domain::ports::{StoreError, UserAdministration};
use mintgate_store_postgres::PgConfig;
use mintgate_testkit::StoreCalls;
use mintgate_testkit::openings::{NOW, Openings, identity};
use mintgate_testkit::rotations::rotation;

use crate::harness::{config, fresh_store, session, somebody_waits_for_a_lock, store};

/// The one connection for requests is free while a search hangs, and the search ends by itself.
#[tokio::test]
async fn a_search_that_hangs_holds_up_no_refresh_and_ends() {
    let test = fresh_store().await;
    let statement_timeout = Duration::from_secs(2);
    let small = PgConfig { pool_size: 1, statement_timeout, ..config(test.database.url()) };
    let store = store(&small);
    let mut session = session(&store, &Openings::default(), "ada").await;
    // A refresh does not read identities.
    let mut other = test.database.client().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE external_identities IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let search = SearchText::part("ada").unwrap();
    let searching = async { store.find_accounts(Some(&search), None, 10).await };
    let refreshing = async {
        somebody_waits_for_a_lock(&test.admin).await;
        for _ in 0..20 {
            let outcome = store.rotate(&rotation(&session, NOW)).await.unwrap();
            let RotateOutcome::Rotated(next) = outcome else { panic!("{outcome:?}") };
            session = *next;
        }
    };
    let (found, ()) = tokio::join!(searching, refreshing);
    assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
    lock.rollback().await.unwrap();
    assert_eq!(store.find_accounts(Some(&search), None, 10).await.unwrap().len(), 1);
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
    session(&test.store, &openings, "nameless").await;
    for sql in [
        include_str!("../../../../migrations/postgres/0010_administration/down.sql"),
        include_str!("../../../../migrations/postgres/0010_administration/up.sql"),
    ] {
        test.admin.batch_execute(sql).await.unwrap();
    }
    // Connections that were made before know the table as it was.
    let store = store(&config(test.database.url()));
    for (text, whole) in [("a l", false), ("ADA L.", true), ("ada@ACME.com", true)] {
        let search = if whole { SearchText::whole(text) } else { SearchText::part(text) };
        let found = store.find_accounts(Some(&search.unwrap()), None, 10).await.unwrap();
        let found: Vec<_> = found.iter().map(|account| account.user.id).collect();
        assert_eq!(found, [opening.user_id()], "{text}");
    }
}
