//! Refreshing and ending where one file, one writer and a restart make the difference.

use std::time::Duration;

use futures_util::future::join_all;
use mintgate_domain::model::RevokeReason;
use mintgate_domain::ports::{EndOutcome, RefreshTokenRepo, StoreError, UserDirectory};
use mintgate_domain::{RotateOutcome, TokenHash};
use mintgate_testkit::openings::NOW;
use mintgate_testkit::rotations::{WINDOW, presenting, rotation, token_of};
use mintgate_testkit::{StoreCalls, StoreUnderTest};

use crate::harness::{config, found, fresh_store, open, rotated, stored};

#[tokio::test]
async fn case_41_fifty_at_once_through_one_writer_get_one_successor() {
    let test = fresh_store().await;
    let session = stored(&test).await;
    let calls = (0..50).map(|n| {
        let mut request = rotation(&session, NOW);
        request.successor.hash = TokenHash::of(&format!("proposal {n}"));
        request.replay.counted = false;
        let store = test.store.clone();
        async move { store.rotate(&request).await.unwrap() }
    });
    let outcomes = join_all(calls).await;
    assert_one_successor(outcomes, &found(&test, session.id).await);
}

#[tokio::test]
async fn case_41_fifty_at_once_from_several_processes_get_one_successor() {
    let test = fresh_store().await;
    let session = stored(&test).await;
    let processes: Vec<_> = (0..5).map(|_| open(&config(&test.directory))).collect();
    let calls = (0..50).map(|n| {
        let mut request = rotation(&session, NOW);
        request.successor.hash = TokenHash::of(&format!("proposal {n}"));
        request.replay.counted = false;
        let store = processes[n % processes.len()].clone();
        async move { store.rotate(&request).await.unwrap() }
    });
    let outcomes = join_all(calls).await;
    assert_one_successor(outcomes, &found(&test, session.id).await);
}

fn assert_one_successor(outcomes: Vec<RotateOutcome>, after: &mintgate_domain::model::Session) {
    assert_eq!(after.refresh.generation, 1);
    let mut rotations = 0;
    for outcome in outcomes {
        match outcome {
            RotateOutcome::Rotated(session) => {
                rotations += 1;
                assert_eq!(*session, *after);
            }
            RotateOutcome::Replayed(session) => assert_eq!(*session, *after),
            other => panic!("neither rotated nor replayed: {other:?}"),
        }
    }
    assert_eq!(rotations, 1);
}

#[tokio::test]
async fn case_42_a_revocation_survives_a_restart() {
    let test = fresh_store().await;
    let first = stored(&test).await;
    let second = rotated(&test, &rotation(&first, NOW)).await;
    test.age_rotation(first.id, WINDOW).await;
    let reused = presenting(&second, token_of(&first.refresh), NOW);
    assert_eq!(test.store.rotate(&reused).await, Ok(RotateOutcome::Reused));

    let restarted = open(&config(&test.directory));
    let revoked = Ok(RotateOutcome::Revoked(RevokeReason::Reuse));
    assert_eq!(restarted.rotate(&rotation(&second, NOW)).await, revoked);
    assert_eq!(restarted.rotate(&reused).await, revoked);
}

/// However the transaction fails: at the statement, with or without SQLite rolling back by itself,
/// or not before the commit.
#[tokio::test]
async fn case_44_after_a_forced_rollback_the_same_token_works() {
    const AT_COMMIT: &str = "
        CREATE TABLE trouble (of TEXT REFERENCES trouble_parents (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE trouble_parents (id TEXT PRIMARY KEY);
        CREATE TRIGGER trouble_comes AFTER UPDATE ON sessions
            BEGIN INSERT INTO trouble VALUES ('nobody'); END";
    let at_the_statement = |how: &str| {
        format!(
            "CREATE TRIGGER trouble_comes AFTER UPDATE ON sessions
                BEGIN SELECT RAISE({how}, 'forced'); END"
        )
    };
    let test = fresh_store().await;
    let mut session = stored(&test).await;
    let troubles = [at_the_statement("ABORT"), at_the_statement("ROLLBACK"), AT_COMMIT.to_owned()];
    for trouble in troubles {
        test.execute(&trouble);
        let before = test.dump().await;
        let request = rotation(&session, NOW);
        for _ in 0..3 {
            let error = test.store.rotate(&request).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_) | StoreError::Corrupt(_)));
            let (id, user, reason) = (session.id, session.user, RevokeReason::Logout);
            test.store.end_session(id, user, reason, NOW).await.unwrap_err();
            test.store.end_user_sessions(user, reason, NOW).await.unwrap_err();
            assert_eq!(test.dump().await, before, "{trouble}");
        }
        test.execute("DROP TRIGGER trouble_comes");
        session = rotated(&test, &request).await;
    }
    assert_eq!(session.refresh.generation, 3);
}

#[tokio::test]
async fn case_44_a_lock_in_the_way_is_unavailable_and_changes_nothing() {
    let test = fresh_store().await;
    let session = stored(&test).await;
    let store = test.impatient();
    let (id, user, reason) = (session.id, session.user, RevokeReason::Logout);
    test.execute("BEGIN IMMEDIATE");
    let locked = StoreError::Unavailable("database is locked".into());
    assert_eq!(store.rotate(&rotation(&session, NOW)).await, Err(locked.clone()));
    assert_eq!(store.end_session(id, user, reason, NOW).await, Err(locked.clone()));
    assert_eq!(store.end_user_sessions(user, reason, NOW).await, Err(locked));
    assert_eq!(store.find_session(id).await, Ok(Some(session.clone())), "reading goes on");
    assert_eq!(store.live_sessions(user, NOW, 9).await, Ok(vec![session.clone()]));
    test.execute("ROLLBACK");
    let outcome = store.rotate(&rotation(&session, NOW)).await.unwrap();
    assert!(matches!(outcome, RotateOutcome::Rotated(_)), "{outcome:?}");
}

#[tokio::test]
async fn case_42_who_hangs_up_gets_the_same_successor_when_asking_again() {
    let test = fresh_store().await;
    let session = stored(&test).await;
    let request = rotation(&session, NOW);
    test.execute("BEGIN IMMEDIATE");
    {
        let call = test.store.rotate(&request);
        let hung_up = tokio::time::timeout(Duration::from_millis(50), call).await;
        assert!(hung_up.is_err(), "the call was under way");
    }
    test.execute("ROLLBACK");
    // The abandoned call went to its end before this one.
    let outcome = test.store.rotate(&request).await.unwrap();
    assert_eq!(outcome, RotateOutcome::Replayed(Box::new(found(&test, session.id).await)));
    assert_eq!(found(&test, session.id).await.refresh, request.successor);
}

#[tokio::test]
async fn another_process_sees_an_end_as_soon_as_it_is_acknowledged() {
    let test = fresh_store().await;
    let mut session = stored(&test).await;
    let other = open(&config(&test.directory));
    session = rotated(&test, &rotation(&session, NOW)).await;
    let end = other.end_session(session.id, session.user, RevokeReason::Admin, NOW).await;
    assert_eq!(end, Ok(EndOutcome::Ended));
    let outcome = test.store.rotate(&rotation(&session, NOW)).await;
    assert_eq!(outcome, Ok(RotateOutcome::Revoked(RevokeReason::Admin)));
    assert_eq!(test.store.live_sessions(session.user, NOW, 9).await, Ok(vec![]));
}

#[tokio::test]
async fn a_thousand_rotations_do_not_grow_the_file() {
    let test = fresh_store().await;
    let session = stored(&test).await;
    // The first fills columns that were empty.
    let mut session = rotated(&test, &rotation(&session, NOW)).await;
    let pages = || ["page_count", "freelist_count"].map(|name| test.pragma(name));
    let before = pages();
    for n in 1..=1000 {
        session = rotated(&test, &rotation(&session, NOW + Duration::from_secs(n))).await;
    }
    assert_eq!(session.refresh.generation, 1001);
    assert_eq!(pages(), before);
    let log = test.directory.path().join("mintgate.db-wal");
    let written_ahead = std::fs::metadata(log).unwrap().len();
    assert!(written_ahead < 8 << 20, "the log begins anew: {written_ahead} bytes");
}
