//! The clean-up stays out of the writer's way.

use std::time::Duration;

use mintgate_domain::ports::{Housekeeping, StoreError, SweepStep, Swept};
use mintgate_testkit::StoreCalls;
use mintgate_testkit::openings::{NOW, Openings, identity};

use crate::harness::{fresh_store, stored};

#[tokio::test]
async fn a_step_that_finds_nothing_to_do_does_not_wait_for_the_writer() {
    let test = fresh_store().await;
    let session = stored(&test).await;
    let store = test.impatient();
    let step = SweepStep { after: None, limit: 1, now: NOW, keep_ended: Duration::ZERO };
    test.execute("BEGIN IMMEDIATE");
    let nothing_yet = Swept { next: Some(session.id), ..Swept::default() };
    assert_eq!(store.sweep(&step).await, Ok(nothing_yet));
    let due = SweepStep { now: session.refresh.expires_at, ..step };
    let locked = Err(StoreError::Unavailable("database is locked".into()));
    assert_eq!(store.sweep(&due).await, locked);
    test.execute("ROLLBACK");
    assert_eq!(store.sweep(&due).await.unwrap().expired_idle, 1);
}

#[tokio::test]
async fn a_step_that_fails_has_done_nothing_of_it() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let first = openings.new_user(identity("ada"));
    let second = openings.existing(first.user_id());
    for opening in [&first, &second] {
        test.store.open_session(opening).await.unwrap();
    }
    let id = second.session.id.as_uuid().simple();
    test.execute(&format!(
        "CREATE TRIGGER trouble_comes AFTER UPDATE ON sessions WHEN new.id = x'{id}'
            BEGIN SELECT RAISE(ABORT, 'forced'); END"
    ));
    let now = first.session.refresh.expires_at;
    let step = SweepStep { after: None, limit: 9, now, keep_ended: Duration::ZERO };
    test.store.sweep(&step).await.unwrap_err();
    for opening in [&first, &second] {
        let session = test.store.find_session(opening.session.id).await.unwrap().unwrap();
        assert_eq!(session.end, None);
    }
    test.execute("DROP TRIGGER trouble_comes");
    assert_eq!(test.store.sweep(&step).await.unwrap().expired_idle, 2);
}
