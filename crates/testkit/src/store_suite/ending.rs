//! Ending sessions, and listing those that live.

use std::time::Duration;

use mintgate_domain::model::{RevokeReason, Session, SessionEnd, SessionId, Timestamp, UserId};
use mintgate_domain::ports::EndOutcome;
use uuid::Uuid;

use super::{
    RACERS, adas_session, again, at_once, count, ended, known_user, rotated, soon, stored,
};
use crate::openings::{NOW, Openings, identity};
use crate::rotations::rotation;
use crate::store_under_test::StoreUnderTest;

const SECOND: Duration = Duration::from_secs(1);

async fn end(
    store: &dyn StoreUnderTest,
    session: &Session,
    reason: RevokeReason,
    now: Timestamp,
) -> EndOutcome {
    let outcome =
        store.store().sessions.repo.end_session(session.id, session.user, reason, now).await;
    outcome.expect("an outcome")
}

async fn end_all(store: &dyn StoreUnderTest, user: UserId, now: Timestamp) -> u64 {
    let ended = store.store().sessions.end_all(user, RevokeReason::Logout, now).await;
    ended.expect("a number")
}

async fn live(
    store: &dyn StoreUnderTest,
    user: UserId,
    now: Timestamp,
    limit: u32,
) -> Vec<Session> {
    store.store().sessions.repo.live_sessions(user, now, limit).await.expect("sessions")
}

/// Ending a session again leaves the time and the reason of its first end.
pub async fn a_session_is_ended_once_and_stays_as_it_was(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let session = rotated(store, &rotation(&session, soon())).await;
    let reason = RevokeReason::Admin;
    assert_eq!(end(store, &session, reason, soon()).await, EndOutcome::Ended);
    let first_end = ended(&session, SessionEnd { at: soon(), reason });
    assert_eq!(again(store, &session).await, first_end);

    let before = store.dump().await;
    for reason in RevokeReason::ALL {
        for now in [NOW, soon(), soon() + SECOND, session.absolute_expires_at] {
            assert_eq!(end(store, &session, reason, now).await, EndOutcome::EndedBefore);
        }
    }
    assert_eq!(store.dump().await, before);
    assert_eq!(end_all(store, session.user, soon() + SECOND).await, 0);
    assert_eq!(store.dump().await.rows("sessions"), before.rows("sessions"));
}

/// Of many calls that end one session at once, one reports that it ended the session.
pub async fn many_ends_at_once_end_once(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let (id, user) = (session.id, session.user);
    let outcomes = at_once(store, 0..RACERS, |store, _| async move {
        store
            .sessions
            .repo
            .end_session(id, user, RevokeReason::Logout, soon())
            .await
            .expect("an outcome")
    })
    .await;
    assert_eq!(count(&outcomes, &EndOutcome::Ended), 1, "{outcomes:?}");
    assert_eq!(count(&outcomes, &EndOutcome::EndedBefore), RACERS - 1, "{outcomes:?}");
}

/// Another user's session is as unknown as one that does not exist, whether it has ended or not.
pub async fn case_46_ending_another_users_session_changes_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let anothers = Session { user: bob.user, ..ada.clone() };
    let nobodys = Session { user: UserId::from_uuid(Uuid::from_u128(0xdead)), ..ada.clone() };
    let nothing = Session { id: SessionId::from_uuid(Uuid::from_u128(0xdead)), ..ada.clone() };
    let before = store.dump().await;
    for session in [&anothers, &nobodys, &nothing] {
        let outcome = end(store, session, RevokeReason::Logout, soon()).await;
        assert_eq!(outcome, EndOutcome::Unknown);
    }
    assert_eq!(end_all(store, nobodys.user, soon()).await, 0);
    assert_eq!(store.dump().await, before);

    assert_eq!(end(store, &ada, RevokeReason::Logout, soon()).await, EndOutcome::Ended);
    assert_eq!(end(store, &anothers, RevokeReason::Logout, soon()).await, EndOutcome::Unknown);
    assert_eq!(again(store, &bob).await, bob);
}

/// A session that is past its limits, and not swept yet, is ended like a live one.
pub async fn a_session_past_its_limits_can_be_ended(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let (reason, at) = (RevokeReason::Logout, session.absolute_expires_at + SECOND);
    assert_eq!(end(store, &session, reason, at).await, EndOutcome::Ended);
    assert_eq!(again(store, &session).await, ended(&session, SessionEnd { at, reason }));
}

/// Every reason of an end is stored under its name and read back.
pub async fn every_reason_survives(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for reason in RevokeReason::ALL {
        let session = stored(store, &openings.new_user(identity(reason.name()))).await;
        assert_eq!(end(store, &session, reason, soon()).await, EndOutcome::Ended);
        let end = SessionEnd { at: soon(), reason };
        assert_eq!(again(store, &session).await, ended(&session, end));
        let rows = store.dump().await;
        let names = rows.rows("sessions").iter().filter(|row| row.contains(reason.name()));
        assert_eq!(names.count(), 1, "{rows:?}");
    }
}

/// Sessions of others, ended sessions and expired sessions are not counted; a second call counts
/// none.
pub async fn ending_all_sessions_counts_the_live_ones_of_this_user(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let live_one = stored(store, &openings.existing(ada)).await;
    let over = stored(store, &openings.existing(ada)).await;
    end(store, &over, RevokeReason::Admin, soon()).await;
    let over = again(store, &over).await;
    let mut run_out = openings.existing(ada);
    run_out.session.refresh.expires_at = soon() + SECOND;
    let run_out = stored(store, &run_out).await;

    let now = soon() + SECOND;
    assert_eq!(end_all(store, ada, now).await, 2);
    let end = SessionEnd { at: now, reason: RevokeReason::Logout };
    assert_eq!(again(store, &live_one).await, ended(&live_one, end));
    for untouched in [&bob, &over, &run_out] {
        assert_eq!(again(store, untouched).await, *untouched);
    }
    let before = store.dump().await;
    assert_eq!(end_all(store, ada, now + SECOND).await, 0);
    assert_eq!(store.dump().await.rows("sessions"), before.rows("sessions"));
}

/// Live sessions are listed by the time of their last refresh, or of their opening.
pub async fn live_sessions_are_the_last_used_first(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let mut sessions = live(store, ada, soon(), 10).await;
    for n in 1..=4 {
        let mut opening = openings.existing(ada);
        opening.session.created_at = NOW + SECOND * n;
        sessions.push(stored(store, &opening).await);
    }
    sessions[2] = rotated(store, &rotation(&sessions[2], soon())).await;
    sessions[0] = rotated(store, &rotation(&sessions[0], soon() + SECOND)).await;
    let expected = [0, 2, 4, 3, 1].map(|n: usize| sessions[n].clone());
    assert_eq!(live(store, ada, soon() + SECOND, 10).await, expected);
}

/// A session leaves the list in the second in which it expires.
pub async fn live_sessions_are_live_and_the_users_own(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let first = live(store, ada, soon(), 10).await;
    assert_eq!(first.len(), 1);
    let over = stored(store, &openings.existing(ada)).await;
    end(store, &over, RevokeReason::Logout, soon()).await;
    let mut run_out = openings.existing(ada);
    run_out.session.created_at = NOW + SECOND;
    run_out.session.refresh.expires_at = soon();
    let run_out = stored(store, &run_out).await;

    assert_eq!(live(store, ada, soon(), 10).await, first);
    let both = [run_out, first[0].clone()];
    assert_eq!(live(store, ada, soon() - SECOND, 10).await, both);
    assert_eq!(live(store, bob.user, soon(), 10).await, [bob]);
    let nobody = UserId::from_uuid(Uuid::from_u128(0xdead));
    assert_eq!(live(store, nobody, soon(), 10).await, []);
    assert_eq!(live(store, ada, first[0].absolute_expires_at, 10).await, []);
}

/// A list that is cut off has the sessions that were used last.
pub async fn live_sessions_are_so_many_at_most(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for n in 1..=4 {
        let mut opening = openings.existing(ada);
        opening.session.created_at = NOW + SECOND * n;
        stored(store, &opening).await;
    }
    let all = live(store, ada, soon(), 10).await;
    assert_eq!(all.len(), 5);
    for limit in [1, 2, 5] {
        let expected = &all[..usize::try_from(limit).expect("a small limit")];
        assert_eq!(live(store, ada, soon(), limit).await, expected);
    }
}
