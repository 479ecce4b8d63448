//! What a store forgets in time, and who has it do so.

use std::time::Duration;

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{
    KeyId, RevokeReason, SealedToken, Session, SessionEnd, SessionId, Timestamp,
};
use mintgate_domain::ports::{Duty, SweepStep, Swept, UpstreamDue};

use super::{
    RACERS, again, at_once, count, ended, find_session, known_user, open, rotate_at_once, rotated,
    soon, stored,
};
use crate::openings::{NOW, Opening, Openings, identity, repeatable, single_use};
use crate::rotations::rotation;
use crate::store_under_test::StoreUnderTest;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const LEASE: Duration = Duration::from_mins(5);
const EVERY: Duration = Duration::from_mins(15);
const KEEP: Duration = Duration::from_hours(24 * 10);

async fn claim(store: &dyn StoreUnderTest, now: Timestamp) -> bool {
    store.store().duties.claim_duty(Duty::Sweep, now, LEASE, EVERY).await.expect("an answer")
}

async fn sweep(store: &dyn StoreUnderTest, step: SweepStep) -> Swept {
    store.store().housekeeping.sweep(&step).await.expect("what it did")
}

fn step(now: Timestamp, limit: u32) -> SweepStep {
    SweepStep { after: None, limit, now, keep_ended: KEEP }
}

/// Steps through everything once; what all of them did.
async fn round(store: &dyn StoreUnderTest, now: Timestamp, limit: u32) -> Swept {
    let mut total = Swept::default();
    let mut after = None;
    for _ in 0..1000 {
        let swept = sweep(store, SweepStep { after, ..step(now, limit) }).await;
        total.expired_idle += swept.expired_idle;
        total.expired_absolute += swept.expired_absolute;
        total.deleted += swept.deleted;
        match swept.next {
            Some(next) => {
                assert!(Some(next) > after, "it goes on in the order of the ids");
                after = Some(next);
            }
            None => return total,
        }
    }
    panic!("it comes to no end");
}

/// A session that idles until then, of at most so long.
fn limited(mut opening: Opening, idle_until: Timestamp, until: Timestamp) -> Opening {
    opening.session.refresh.expires_at = idle_until;
    opening.session.absolute_expires_at = until;
    opening
}

/// Of many replicas that claim the duty at once, one gets it.
pub async fn the_duty_of_sweeping_is_claimed_by_one_of_many(store: &dyn StoreUnderTest) {
    for n in 0..3 {
        let now = NOW + LEASE * n;
        let claims = at_once(store, 0..RACERS, |store, _| async move {
            store.duties.claim_duty(Duty::Sweep, now, LEASE, EVERY).await.expect("an answer")
        })
        .await;
        assert_eq!(count(&claims, &true), 1, "{claims:?}");
    }
}

/// Another replica takes the duty over when the one that held it has died.
pub async fn a_claim_ends_with_its_lease(store: &dyn StoreUnderTest) {
    assert!(claim(store, NOW).await);
    let before = store.dump().await;
    assert!(!claim(store, NOW).await);
    assert!(!claim(store, NOW + LEASE - SECOND).await);
    assert_eq!(store.dump().await, before, "being refused prolongs nothing");
    assert!(claim(store, NOW + LEASE).await);
    assert!(!claim(store, NOW + LEASE).await);
}

/// Nobody gets the duty until the interval after the last round is over.
pub async fn a_round_that_was_ended_is_not_begun_again_too_soon(store: &dyn StoreUnderTest) {
    assert!(claim(store, NOW).await);
    let done = NOW + SECOND * 7;
    assert_eq!(store.store().duties.end_duty(Duty::Sweep, done).await, Ok(()));
    assert!(!claim(store, done).await);
    assert!(!claim(store, done + LEASE).await);
    assert!(!claim(store, done + EVERY - SECOND).await);
    assert!(claim(store, done + EVERY).await);
    assert!(!claim(store, done + EVERY).await, "it is held again");
}

/// The time of the end is that of the limit, not of the sweep; the reason is the limit that came
/// first.
pub async fn a_sweep_marks_what_has_run_out_at_the_moment_it_did(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let far = NOW + DAY * 90;
    let now = NOW + DAY * 5;
    let mut expected = vec![];
    for (idle_until, until, reason) in [
        (now, far, RevokeReason::ExpiredIdle),
        (NOW + DAY, far, RevokeReason::ExpiredIdle),
        (NOW + DAY, NOW + DAY * 2, RevokeReason::ExpiredIdle),
        (now, now, RevokeReason::ExpiredAbsolute),
        (NOW + DAY, NOW + DAY, RevokeReason::ExpiredAbsolute),
    ] {
        let opening = limited(openings.existing(ada), idle_until, until);
        let session = stored(store, &opening).await;
        expected.push(ended(&session, SessionEnd { at: idle_until, reason }));
    }
    let swept = round(store, now, 100).await;
    let expected_swept = Swept { next: None, expired_idle: 3, expired_absolute: 2, deleted: 0 };
    assert_eq!(swept, expected_swept);
    for session in expected {
        assert_eq!(again(store, &session).await, session);
        let revoked = RotateOutcome::Revoked(session.end.expect("an end").reason);
        super::writes_nothing(store, &rotation(&session, NOW), &revoked).await;
    }
    let before = store.dump().await;
    assert_eq!(round(store, now, 100).await, Swept::default());
    assert_eq!(store.dump().await, before);
}

/// Live sessions, and those that ended a short time ago, stay as they are in every column.
pub async fn a_sweep_leaves_what_lives_alone(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let now = NOW + DAY * 5;
    stored(store, &limited(openings.existing(ada), now + SECOND, now + SECOND)).await;
    stored(store, &limited(openings.existing(ada), now + SECOND, now + DAY)).await;
    let refreshed = stored(store, &limited(openings.existing(ada), now, now + DAY)).await;
    rotated(store, &rotation(&refreshed, NOW + DAY)).await;
    let over = stored(store, &openings.existing(ada)).await;
    store.store().revocations.keep_revocations_for(DAY * 100).await.expect("an answer");
    let reason = RevokeReason::Logout;
    store
        .store()
        .sessions
        .repo
        .end_session(over.id, ada, reason, now - KEEP)
        .await
        .expect("an end");
    let before = store.dump().await;
    assert_eq!(round(store, now, 100).await, Swept::default());
    assert_eq!(store.dump().await, before);
}

/// The session and what belongs to it are deleted, however it ended; its user stays.
pub async fn a_sweep_deletes_what_ended_long_ago(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let now = NOW + DAY * 20;
    let live = stored(store, &openings.new_user(identity("ada"))).await;
    let mut over = vec![];
    for reason in [RevokeReason::Logout, RevokeReason::Reuse] {
        let mut opening = openings.existing(live.user);
        let mut record = repeatable(reason.name());
        record.expires_at = now + DAY;
        opening.idempotency = Some(record);
        let session = stored(store, &opening).await;
        let at = now - KEEP - SECOND;
        store
            .store()
            .sessions
            .repo
            .end_session(session.id, live.user, reason, at)
            .await
            .expect("an end");
        over.push(session.id);
    }
    let run_out = limited(openings.existing(live.user), now - KEEP - SECOND, NOW + DAY * 90);
    over.push(stored(store, &run_out).await.id);

    // What it marks it may delete at once or the next time.
    let (first, second) = (round(store, now, 2).await, round(store, now, 2).await);
    assert_eq!(first.expired_idle + second.expired_idle, 1);
    assert_eq!(first.deleted + second.deleted, 3);
    for id in over {
        assert_eq!(find_session(store, id).await, None);
    }
    assert_eq!(again(store, &live).await, live);
    let dump = store.dump().await;
    assert_eq!(dump.counts(), [1, 1, 0, 1]);
    assert_eq!(dump.rows("idempotency_keys").len(), 0);
}

/// The limit of a step counts all sessions, live and ended.
pub async fn a_sweep_looks_at_so_many_at_most_and_goes_on_from_there(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let now = NOW + DAY;
    let mut ids = vec![];
    for n in 0..5 {
        let until = if n % 2 == 0 { now } else { now + DAY };
        ids.push(stored(store, &limited(openings.existing(ada), until, until)).await.id);
    }
    // Ada's first session has the lowest id.
    let mut after = None;
    let mut ended = vec![];
    for (next, expired) in [(Some(ids[0]), 1), (Some(ids[2]), 1), (Some(ids[4]), 1), (None, 0)] {
        let swept = sweep(store, SweepStep { after, ..step(now, 2) }).await;
        assert_eq!(swept.next, next);
        assert_eq!(swept.expired_absolute, expired);
        ended.extend(next.filter(|_| expired > 0));
        for id in &ids {
            let session = find_session(store, *id).await.expect("a session");
            assert_eq!(session.end.is_some(), ended.contains(id));
        }
        after = swept.next;
    }
    assert_eq!(ended, [ids[0], ids[2], ids[4]]);
}

/// Marks and idempotency records are deleted when they have expired, and not before.
pub async fn a_sweep_forgets_used_id_tokens_and_repeatable_requests(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for (name, expires_at) in [("past", soon()), ("future", soon() + SECOND)] {
        let mut opening = openings.existing(ada);
        let mut mark = single_use(name);
        mark.expires_at = expires_at;
        opening.single_use = Some(mark);
        let mut record = repeatable(name);
        record.expires_at = expires_at;
        opening.idempotency = Some(record);
        stored(store, &opening).await;
    }
    let before = store.dump().await;
    assert_eq!(round(store, soon() - SECOND, 100).await, Swept::default());
    assert_eq!(store.dump().await, before);

    assert_eq!(round(store, soon(), 100).await, Swept::default());
    let dump = store.dump().await;
    assert_eq!(dump.rows("sessions"), before.rows("sessions"));
    assert_eq!(dump.counts(), [1, 1, 1, 3]);
    assert_eq!(dump.rows("idempotency_keys").len(), 1);
    let future = repeatable("future").request;
    let found =
        store.store().sessions.idempotency.find(future.key, soon()).await.expect("an answer");
    assert_eq!(found.map(|(request, _)| request), Some(future));
}

/// A step deletes no more rows of a table than its limit.
pub async fn a_sweep_forgets_so_many_at_most(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for n in 0..5 {
        let mut opening = openings.existing(ada);
        opening.single_use = Some(single_use(&n.to_string()));
        opening.idempotency = Some(repeatable(&n.to_string()));
        stored(store, &opening).await;
    }
    for left in [3, 1, 0, 0] {
        sweep(store, step(NOW + DAY, 2)).await;
        let dump = store.dump().await;
        assert_eq!(dump.counts(), [1, 1, left, 6]);
        assert_eq!(dump.rows("idempotency_keys").len(), left);
    }
}

/// The first step says that there is no next one.
pub async fn a_sweep_of_an_empty_store_is_done_at_once(store: &dyn StoreUnderTest) {
    assert_eq!(sweep(store, step(NOW, 10)).await, Swept::default());
    let id = known_user(store, &Openings::default(), "ada").await;
    let [session] =
        &store.store().sessions.repo.live_sessions(id, NOW, 9).await.expect("sessions")[..]
    else {
        panic!("one session")
    };
    let behind = SweepStep { after: Some(session.id), ..step(NOW + DAY * 90, 10) };
    assert_eq!(sweep(store, behind).await, Swept::default());
    assert_eq!(again(store, session).await, *session);
}

/// With clocks that differ, a session is either refreshed or marked as expired, never both.
pub async fn sweeping_and_refreshing_at_once_lose_no_session(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let limit = NOW + DAY;
    let mut sessions: Vec<Session> = vec![];
    for _ in 0..RACERS * 2 {
        let mut opening = limited(openings.existing(ada), limit, NOW + DAY * 90);
        opening.upstream.refresh = Some(SealedToken("sealed".to_owned()));
        sessions.push(stored(store, &opening).await);
    }
    let ports = store.store();
    let sweeping = tokio::spawn(async move {
        let mut after = None;
        loop {
            let step = SweepStep { after, ..step(limit, 3) };
            after = ports.housekeeping.sweep(&step).await.expect("what it did").next;
            if after.is_none() {
                break;
            }
        }
    });
    let requests = sessions.iter().map(|session| rotation(session, limit - SECOND)).collect();
    let outcomes = rotate_at_once(store, requests).await;
    sweeping.await.expect("a sweep");
    let end = SessionEnd { at: limit, reason: RevokeReason::ExpiredIdle };
    for (session, outcome) in sessions.iter().zip(outcomes) {
        let expected = match outcome {
            RotateOutcome::Rotated(refreshed) => *refreshed,
            RotateOutcome::Revoked(RevokeReason::ExpiredIdle) => ended(session, end),
            other => panic!("neither refreshed nor run out: {other:?}"),
        };
        assert_eq!(again(store, session).await, expected);
        let due = UpstreamDue::Recheck(limit);
        let token =
            store.store().upstream_tokens.claim_upstream(session.id, due, limit, limit).await;
        let has_token = token.expect("an answer").is_some();
        assert_eq!(has_token, expected.end.is_none(), "a provider's token goes with its session");
    }
}

/// The keys of ended and expired sessions, and of superseded tokens, are not in use.
pub async fn a_refresh_key_is_in_use_while_a_live_session_needs_it(store: &dyn StoreUnderTest) {
    let in_use = async |id: &str, now: Timestamp| {
        let answer = store.store().housekeeping.refresh_key_in_use(&KeyId::new(id), now).await;
        answer.expect("an answer")
    };
    assert!(!in_use("refresh-1", NOW).await);
    let openings = Openings::default();
    let session = stored(store, &openings.new_user(identity("ada"))).await;
    assert!(in_use("refresh-1", session.refresh.expires_at - SECOND).await);
    assert!(!in_use("refresh-1", session.refresh.expires_at).await);
    assert!(!in_use("refresh-2", NOW).await && !in_use("REFRESH-1", NOW).await);

    let session = rotated(store, &rotation(&session, soon())).await;
    assert!(!in_use("refresh-1", NOW).await, "the one before needs no key");
    assert!(in_use("refresh-2", NOW).await);
    let other = openings.existing(session.user);
    open(store, &other).await;
    assert!(in_use("refresh-1", NOW).await && in_use("refresh-2", NOW).await);
    let ids: [SessionId; 2] = [session.id, other.session.id];
    for id in ids {
        let reason = RevokeReason::Logout;
        store
            .store()
            .sessions
            .repo
            .end_session(id, session.user, reason, soon())
            .await
            .expect("an end");
    }
    assert!(!in_use("refresh-1", NOW).await && !in_use("refresh-2", NOW).await);
}
