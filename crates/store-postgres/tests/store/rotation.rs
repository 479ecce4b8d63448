//! Rotations that meet other writes to the same session, at the worst moment and at any.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mintgate_domain::model::{
    LostAnswer, PresentedRefresh, RevokeReason, Role, Rotation, SealedToken, Session, SessionId,
    UserId,
};
use mintgate_domain::ports::{
    EndOutcome, LinkOutcome, RefreshTokenRepo, StoreError, UpstreamTokenRepo, UserDirectory,
};
use mintgate_domain::{RotateOutcome, Sessions};
use mintgate_store_postgres::PgStore;
use mintgate_testkit::StoreCalls;
use mintgate_testkit::StoreUnderTest;
use mintgate_testkit::openings::{NOW, Openings, identity};
use mintgate_testkit::rotations::{WINDOW, presenting, rotation, token_of};
use tokio_postgres::Client;

use crate::harness::{
    PgUnderTest, config, everything_is_executed, fresh_store, linking, opened, order, read,
    renewal, session, somebody_waits_for_a_lock, store,
};

/// What the rotation of a session that was rotated once meets: the session, and a connection that
/// is about to write to it.
struct Meeting {
    test: PgUnderTest,
    openings: Openings,
    before: Session,
    first: PresentedRefresh,
}

async fn meeting() -> Meeting {
    let test = fresh_store().await;
    let openings = Openings::default();
    let mut opening = openings.new_user(identity("ada"));
    opening.upstream.refresh = Some(SealedToken("sealed".to_owned()));
    let opened = opened(&test.store, &opening).await;
    let first = token_of(&opened.refresh);
    let RotateOutcome::Rotated(before) = test.store.rotate(&rotation(&opened, NOW)).await.unwrap()
    else {
        panic!("not rotated");
    };
    Meeting { test, openings, before: *before, first }
}

impl Meeting {
    /// The token before the current one is presented. Its first statement matches nothing and
    /// does not wait, so that it is the second that finds the row locked: its snapshot is older
    /// than what `write` does.
    fn replay(&self) -> Rotation {
        presenting(&self.before, self.first, NOW)
    }

    /// Has the rotation wait for `write`, which is then committed.
    async fn meets(&self, rotation: &Rotation, write: &str) -> Result<RotateOutcome, StoreError> {
        let mut other = self.test.database.client().await;
        let transaction = other.transaction().await.unwrap();
        assert_eq!(transaction.execute(write, &[]).await.unwrap(), 1);
        let call = async { self.test.store.rotate(rotation).await };
        let commit = async {
            somebody_waits_for_a_lock(&self.test.admin).await;
            transaction.commit().await.unwrap();
        };
        tokio::join!(call, commit).0
    }

    async fn after(&self) -> Session {
        read(&self.test.store, self.before.id).await
    }
}

const ROTATED_AGAIN: &str = "UPDATE sessions SET gen = gen + 1, prev_hash = cur_hash,
    cur_hash = sha256(cur_hash), rotated_at = clock_timestamp(), prev_replays = 0";

#[tokio::test]
async fn a_replay_that_waited_for_another_replay_counts_after_it() {
    let meeting = meeting().await;
    let replayed = "UPDATE sessions SET prev_replays = prev_replays + 1";
    let outcome = meeting.meets(&meeting.replay(), replayed).await.unwrap();
    let after = meeting.after().await;
    assert_eq!(after.previous.unwrap().replays, 2);
    assert_eq!(outcome, RotateOutcome::Replayed(Box::new(after)));
}

#[tokio::test]
async fn a_replay_that_waited_for_the_last_one_allowed_is_reuse() {
    let meeting = meeting().await;
    let outcome = meeting.meets(&meeting.replay(), "UPDATE sessions SET prev_replays = 3").await;
    assert_eq!(outcome, Ok(RotateOutcome::Reused));
    let after = meeting.after().await;
    assert_eq!(after.previous.unwrap().replays, 3);
    assert_eq!(after.end.unwrap().reason, RevokeReason::Reuse);
}

#[tokio::test]
async fn case_43_a_replay_that_waited_for_a_logout_finds_the_session_ended() {
    let meeting = meeting().await;
    let ended = "UPDATE sessions SET revoked_at = '2026-01-01', revoke_reason = 'logout'";
    let outcome = meeting.meets(&meeting.replay(), ended).await;
    assert_eq!(outcome, Ok(RotateOutcome::Revoked(RevokeReason::Logout)));
    let after = meeting.after().await;
    assert_eq!(after.end.unwrap().reason, RevokeReason::Logout);
    assert_eq!(after.previous, meeting.before.previous, "nothing was written");
}

#[tokio::test]
async fn case_43_a_rotation_that_waited_for_a_logout_finds_the_session_ended() {
    let meeting = meeting().await;
    let ended = "UPDATE sessions SET revoked_at = '2026-01-01', revoke_reason = 'logout'";
    let outcome = meeting.meets(&rotation(&meeting.before, NOW), ended).await;
    assert_eq!(outcome, Ok(RotateOutcome::Revoked(RevokeReason::Logout)));
    assert_eq!(meeting.after().await.refresh, meeting.before.refresh);
}

#[tokio::test]
async fn a_rotation_that_waited_for_a_session_to_be_deleted_finds_none() {
    let meeting = meeting().await;
    for rotation in [rotation(&meeting.before, NOW), meeting.replay()] {
        let outcome = meeting.meets(&rotation, "DELETE FROM sessions").await;
        assert_eq!(outcome, Ok(RotateOutcome::Unknown));
        let admin = &meeting.test.admin;
        assert!(admin.query("SELECT FROM sessions", &[]).await.unwrap().is_empty());
        let mut again = meeting.openings.existing(meeting.before.user);
        again.session.id = meeting.before.id;
        opened(&meeting.test.store, &again).await;
        admin.execute(ROTATED_AGAIN, &[]).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_was_superseded_while_it_waited_is_judged_by_what_it_has_become() {
    let meeting = meeting().await;
    let outcome = meeting.meets(&meeting.replay(), ROTATED_AGAIN).await;
    assert_eq!(outcome, Ok(RotateOutcome::Reused));
    let after = meeting.after().await;
    assert_eq!(after.refresh.generation, meeting.before.refresh.generation + 1);
    assert_ne!(after.refresh.hash, meeting.before.refresh.hash, "the other's write is kept");
    assert_eq!(after.end.unwrap().reason, RevokeReason::Reuse);
}

#[tokio::test]
async fn of_two_that_supersede_a_lost_successor_the_second_gets_what_the_first_made() {
    let meeting = meeting().await;
    meeting.test.age_rotation(meeting.before.id, WINDOW * 2).await;
    let mut lost = meeting.replay();
    lost.replay.lost_answer = LostAnswer::UntilUsed;
    let superseded = "UPDATE sessions SET gen = gen + 1, cur_hash = sha256(cur_hash),
        rotated_at = clock_timestamp(), prev_replays = 0";
    let outcome = meeting.meets(&lost, superseded).await.unwrap();
    let after = meeting.after().await;
    assert_eq!(after.refresh.generation, meeting.before.refresh.generation + 1);
    assert_eq!(outcome, RotateOutcome::Replayed(Box::new(after)));
}

#[tokio::test]
async fn roles_come_with_the_successor_that_is_stored_and_with_no_other() {
    let meeting = meeting().await;
    let auditor = || Some(vec![Role::new("auditor")]);
    let mut late = rotation(&meeting.before, NOW);
    late.roles = auditor();
    let replayed = meeting.meets(&late, ROTATED_AGAIN).await.unwrap();
    let after = meeting.after().await;
    assert_eq!(after.grant, meeting.before.grant);
    assert_eq!(replayed, RotateOutcome::Replayed(Box::new(after)));

    // The first statement does not match a current token that was lost; the second stores the roles.
    meeting.test.age_rotation(meeting.before.id, WINDOW * 2).await;
    let lost = meeting.after().await;
    let mut again = presenting(&lost, token_of(&meeting.before.refresh), NOW);
    again.replay.lost_answer = LostAnswer::UntilUsed;
    again.roles = auditor();
    let outcome = meeting.test.store.rotate(&again).await.unwrap();
    let after = meeting.after().await;
    assert_eq!(after.grant.roles, auditor().unwrap());
    assert_eq!(after.refresh, again.successor);
    assert_eq!(outcome, RotateOutcome::Rotated(Box::new(after)));
}

#[tokio::test]
async fn a_successor_that_no_longer_fits_when_the_wait_is_over_is_not_stored() {
    let meeting = meeting().await;
    let mut lost = meeting.replay();
    lost.replay.lost_answer = LostAnswer::UntilUsed;
    lost.replay.window = Duration::ZERO;
    let superseded = "UPDATE sessions SET gen = gen + 1, cur_hash = sha256(cur_hash),
        rotated_at = clock_timestamp()";
    let outcome = meeting.meets(&lost, superseded).await.unwrap();
    let after = meeting.after().await;
    assert_ne!(after.refresh.hash, lost.successor.hash);
    assert_eq!(outcome, RotateOutcome::Remint(Box::new(after)));
}

#[tokio::test]
async fn the_window_is_measured_by_the_databases_clock() {
    let meeting = meeting().await;
    // Rotated, by the other's transaction, a moment before it commits. The replica's own clock
    // is two days ahead.
    let mut late = presenting(&meeting.before, token_of(&meeting.before.refresh), NOW);
    late.now = NOW + WINDOW * 24;
    late.replay.window = Duration::from_mins(1);
    let outcome = meeting.meets(&late, ROTATED_AGAIN).await.unwrap();
    assert!(matches!(outcome, RotateOutcome::Replayed(_)), "{outcome:?}");
}

/// The outcome of a replay that has waited for `waited` when it is judged, half a minute after the
/// rotation. The window is a second.
async fn told_after_waiting(waited: Duration) -> RotateOutcome {
    let meeting = meeting().await;
    meeting.test.age_rotation(meeting.before.id, Duration::from_secs(30)).await;
    let store = &meeting.test.store;
    let sessions = Sessions {
        repo: store.clone(),
        users: store.clone(),
        marks: store.clone(),
        idempotency: store.clone(),
    };
    let mut slow = meeting.replay();
    slow.replay.window = Duration::from_secs(1);
    sessions.rotate(&slow, None, || waited, |_| Ok::<_, StoreError>(())).await.unwrap()
}

#[tokio::test]
async fn the_window_ends_when_the_token_comes_and_not_when_it_is_judged() {
    // It came before the window was over, and has waited since.
    let outcome = told_after_waiting(Duration::from_mins(1)).await;
    assert!(matches!(outcome, RotateOutcome::Replayed(_)), "{outcome:?}");
    // The window was long over.
    let outcome = told_after_waiting(Duration::from_secs(10)).await;
    assert_eq!(outcome, RotateOutcome::Reused);
}

#[tokio::test]
async fn a_statement_that_is_executed_after_its_caller_gave_up_ends_no_session() {
    let meeting = meeting().await;
    // Superseded twice by the time the lock is free: it would be reuse, were anybody there.
    let stuck = meeting.replay();
    let mut other = meeting.test.database.client().await;
    let transaction = other.transaction().await.unwrap();
    assert_eq!(transaction.execute(ROTATED_AGAIN, &[]).await.unwrap(), 1);
    let store = Arc::clone(&meeting.test.store);
    let call = tokio::spawn(async move { store.rotate(&stuck).await });
    somebody_waits_for_a_lock(&meeting.test.admin).await;
    call.abort();
    transaction.commit().await.unwrap();
    everything_is_executed(&meeting.test.admin).await;
    assert_eq!(meeting.after().await.end, None);
    let outcome = meeting.test.store.rotate(&meeting.replay()).await.unwrap();
    assert_eq!(outcome, RotateOutcome::Reused);
}

/// Makes the commit of every write to a session fail: what comes between the update and the commit.
async fn commits_fail(admin: &Client) {
    admin
        .batch_execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN RAISE 'the disk is full'; END $$;
             CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON sessions
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn case_44_a_rollback_before_the_commit_leaves_the_token_as_good_as_before() {
    let meeting = meeting().await;
    let rotate = rotation(&meeting.before, NOW);
    let mut reuse = meeting.replay();
    reuse.replay.window = Duration::ZERO;
    let before = meeting.test.dump().await;
    commits_fail(&meeting.test.admin).await;
    for rotation in [&rotate, &meeting.replay(), &reuse] {
        let failed = StoreError::Unavailable("the disk is full".into());
        assert_eq!(meeting.test.store.rotate(rotation).await, Err(failed));
        assert_eq!(meeting.test.dump().await, before);
    }
    let failed = StoreError::Unavailable("the disk is full".into());
    let store = &meeting.test.store;
    let (id, user) = (meeting.before.id, meeting.before.user);
    let ended = store.end_session(id, user, RevokeReason::Logout, NOW).await;
    assert_eq!(ended, Err(failed.clone()));
    let ended = store.end_user_sessions(user, RevokeReason::Logout, NOW).await;
    assert_eq!(ended, Err(failed.clone()));
    // A user without a session is harmless; what fails is to store the session.
    let bobs = meeting.openings.new_user(identity("bob"));
    store.find_or_create(&bobs.new_user()).await.unwrap();
    let before = meeting.test.dump().await;
    let opened = store.open_session(&bobs).await;
    assert_eq!(opened, Err(failed.clone()));
    assert_eq!(meeting.test.dump().await, before);

    // Whatever else a statement has done goes with it.
    let other = identity("linked");
    let linked = store.link_identity(user, &linking(&other), None).await;
    assert_eq!(linked, Ok(LinkOutcome::Linked));
    let before = meeting.test.dump().await;
    let nobody = SessionId::from_uuid(uuid::Uuid::nil());
    let ada = identity("ada");
    let unlinked = store.unlink_identity(user, &ada, nobody, RevokeReason::Logout, NOW).await;
    assert_eq!(unlinked, Err(failed.clone()));
    let ended = store.end_provider_sessions(&order(Some("ada"), None, "an order"), NOW).await;
    assert_eq!(ended, Err(failed.clone()));
    assert_eq!(store.keep_upstream(id, &renewal("new", NOW)).await, Err(failed));
    assert_eq!(meeting.test.dump().await, before);
    meeting.test.admin.batch_execute("DROP TRIGGER fail ON sessions").await.unwrap();
    let outcome = meeting.test.store.rotate(&rotate).await.unwrap();
    let after = meeting.after().await;
    assert_eq!(after.refresh, rotate.successor);
    assert_eq!(outcome, RotateOutcome::Rotated(Box::new(after)));
}

#[tokio::test]
async fn case_44_a_backend_that_is_killed_in_the_middle_leaves_the_token_as_good_as_before() {
    let meeting = meeting().await;
    let rotate = rotation(&meeting.before, NOW);
    let mut other = meeting.test.database.client().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM sessions FOR UPDATE").await.unwrap();
    let killing = async {
        // As often as the call tries.
        for _ in 0..3 {
            somebody_waits_for_a_lock(&meeting.test.admin).await;
            let kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            meeting.test.admin.query(kill, &[]).await.unwrap();
        }
        lock.rollback().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(async { meeting.test.store.rotate(&rotate).await }, killing);
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    assert_eq!(meeting.after().await, meeting.before);
    let outcome = meeting.test.store.rotate(&rotate).await;
    assert!(matches!(outcome, Ok(RotateOutcome::Rotated(_))), "{outcome:?}");
}

/// Stores on one database, as replicas have them.
fn replicas(test: &PgUnderTest, pool_sizes: &[u32]) -> Vec<Arc<PgStore>> {
    let replica = |pool_size: &u32| {
        let mut config = config(test.database.url());
        config.pool_size = *pool_size;
        store(&config)
    };
    pool_sizes.iter().map(replica).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_41_the_current_token_many_times_at_once_has_one_successor() {
    for (pool_sizes, callers, counted) in
        [(&[1][..], 50, false), (&[8, 8], 200, false), (&[1, 4], 200, true)]
    {
        let test = fresh_store().await;
        let replicas = replicas(&test, pool_sizes);
        let before = session(&test.store, &Openings::default(), "ada").await;
        let calls = (0..callers).map(|n| {
            let store = Arc::clone(&replicas[n % replicas.len()]);
            // Each replica makes a successor of its own: only one may come to be.
            let mut rotation = rotation(&before, NOW + Duration::from_secs(n as u64 % 7));
            rotation.replay.counted = counted;
            rotation.replay.limit = 1000;
            tokio::spawn(async move { store.rotate(&rotation).await.unwrap() })
        });
        let outcomes = join_all(calls).await.into_iter().map(Result::unwrap);
        let (mut rotated, mut replayed, mut hashes) = (0, 0, HashSet::new());
        for outcome in outcomes {
            let session = match outcome {
                RotateOutcome::Rotated(session) => {
                    rotated += 1;
                    session
                }
                RotateOutcome::Replayed(session) => {
                    replayed += 1;
                    session
                }
                other => panic!("{other:?}"),
            };
            hashes.insert(session.refresh.hash);
        }
        assert_eq!((rotated, replayed, hashes.len()), (1, callers - 1, 1));
        let after = read(&test.store, before.id).await;
        assert_eq!((after.refresh.generation, after.end), (1, None));
        let replays = after.previous.unwrap().replays;
        assert_eq!(usize::from(replays), if counted { callers - 1 } else { 0 });
    }
}

/// Tabs that share a session each refresh with the newest token they have seen, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_refresh_in_a_row_and_at_once_never_fork_or_lose_the_session() {
    let test = fresh_store().await;
    let replicas = replicas(&test, &[1, 2, 3]);
    let mut newest = session(&test.store, &Openings::default(), "ada").await;
    for round in 1..=40 {
        let calls = (0..12).map(|n: usize| {
            let store = Arc::clone(&replicas[n % replicas.len()]);
            let mut rotation = rotation(&newest, NOW + Duration::from_secs(n as u64 % 3));
            rotation.replay.counted = false;
            tokio::spawn(async move { store.rotate(&rotation).await.unwrap() })
        });
        let sessions = join_all(calls).await.into_iter().map(|outcome| match outcome.unwrap() {
            RotateOutcome::Rotated(session) | RotateOutcome::Replayed(session) => *session,
            other => panic!("round {round}: {other:?}"),
        });
        let sessions: Vec<_> = sessions.collect();
        assert!(sessions.iter().all(|session| session.refresh == sessions[0].refresh));
        newest = read(&test.store, newest.id).await;
        assert_eq!(newest.refresh, sessions[0].refresh);
        assert_eq!(newest.refresh.generation, round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_43_after_an_acknowledged_end_nothing_rotates_in_two_hundred_races() {
    let test = fresh_store().await;
    let replicas = replicas(&test, &[4, 1]);
    let openings = Openings::default();
    let mut rotated_first = 0;
    for n in 0..200 {
        let before = session(&test.store, &openings, &n.to_string()).await;
        let racers = (0..3).map(|k: usize| {
            let (store, rotation) = (Arc::clone(&replicas[k % 2]), rotation(&before, NOW));
            tokio::spawn(async move { store.rotate(&rotation).await.unwrap() })
        });
        let racers: Vec<_> = racers.collect();
        let ending = {
            let (store, id, user) = (Arc::clone(&replicas[n % 2]), before.id, before.user);
            let everything = n % 4 < 2;
            tokio::spawn(async move {
                if everything {
                    let ended = store.end_user_sessions(user, RevokeReason::Logout, NOW).await;
                    assert_eq!(ended, Ok(1));
                } else {
                    let ended = store.end_session(id, user, RevokeReason::Logout, NOW).await;
                    assert_eq!(ended, Ok(EndOutcome::Ended));
                }
                read(&store, id).await
            })
        };
        let ended = ending.await.unwrap();
        assert_eq!(ended.end.unwrap().reason, RevokeReason::Logout);
        for outcome in join_all(racers).await {
            match outcome.unwrap() {
                RotateOutcome::Rotated(_) => rotated_first += 1,
                RotateOutcome::Replayed(_) | RotateOutcome::Revoked(RevokeReason::Logout) => {}
                other => panic!("{other:?}"),
            }
        }
        let after = read(&test.store, before.id).await;
        assert_eq!(after.refresh, ended.refresh, "not a rotation later");
        assert_eq!(after.end, ended.end);
        for late in [rotation(&after, NOW), rotation(&before, NOW)] {
            let outcome = test.store.rotate(&late).await;
            assert_eq!(outcome, Ok(RotateOutcome::Revoked(RevokeReason::Logout)));
        }
    }
    // Both orders were seen, or nothing has raced.
    assert!((1..200).contains(&rotated_first), "{rotated_first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_everything_at_once_do_not_wait_for_each_other_in_a_circle() {
    let test = fresh_store().await;
    let replicas = replicas(&test, &[4, 4]);
    let openings = Openings::default();
    let ada = session(&test.store, &openings, "ada").await.user;
    for _ in 0..20 {
        for _ in 0..20 {
            opened(&test.store, &openings.existing(ada)).await;
        }
        let live = test.store.live_sessions(ada, NOW, 100).await.unwrap();
        let rotations = live.iter().map(|session| {
            let (store, rotation) = (Arc::clone(&replicas[0]), rotation(session, NOW));
            tokio::spawn(async move { store.rotate(&rotation).await.map(|_| 0) })
        });
        let ends = (0..8).map(|n: usize| {
            let store = Arc::clone(&replicas[n % 2]);
            tokio::spawn(
                async move { store.end_user_sessions(ada, RevokeReason::Admin, NOW).await },
            )
        });
        let calls: Vec<_> = rotations.chain(ends).collect();
        let ended = join_all(calls).await.into_iter().map(|call| call.unwrap().unwrap());
        assert_eq!(ended.sum::<u64>(), live.len() as u64, "each by one of them");
    }
}

#[tokio::test]
async fn what_is_another_users_is_neither_found_nor_locked() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let before = session(&test.store, &openings, "ada").await;
    let eve = test.store.open_session(&openings.new_user(identity("eve"))).await;
    eve.unwrap();
    let mut stolen = rotation(&before, NOW);
    stolen.user = UserId::from_uuid(uuid::Uuid::from_u128(7));
    let mut other = test.database.client().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM sessions FOR UPDATE").await.unwrap();
    assert_eq!(test.store.rotate(&stolen).await, Ok(RotateOutcome::Unknown));
    let ended = test.store.end_session(before.id, stolen.user, RevokeReason::Logout, NOW).await;
    assert_eq!(ended, Ok(EndOutcome::Unknown));
    lock.rollback().await.unwrap();
    assert_eq!(read(&test.store, before.id).await, before);
}
