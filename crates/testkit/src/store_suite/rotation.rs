//! Refreshing: one current token at a time, whoever presents what how often.

use std::time::Duration;

use mintgate_domain::model::{
    LostAnswer, PresentedRefresh, PreviousToken, RevokeReason, Rotation, Session, SessionEnd,
    SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::EndOutcome;
use mintgate_domain::{RotateOutcome, TokenHash};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    RACERS, adas_session, again, count, ended, find_session, rotate, rotate_at_once, rotated, soon,
    stored, writes_nothing,
};
use crate::openings::{NOW, Openings, identity};
use crate::rotations::{IDLE, REPLAYS, WINDOW, presenting, rotation, successor, token_of};
use crate::store_under_test::StoreUnderTest;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// The session after this rotation of it.
pub(super) fn succeeded(before: &Session, rotation: &Rotation, rotated_at: Timestamp) -> Session {
    let hash = rotation.presented.hash;
    let mut grant = before.grant.clone();
    if let Some(roles) = &rotation.roles {
        grant.roles.clone_from(roles);
    }
    Session {
        grant,
        refresh: rotation.successor.clone(),
        previous: Some(PreviousToken { hash, rotated_at, replays: 0 }),
        last_used_at: rotation.now,
        ..before.clone()
    }
}

pub(super) fn rotated_at(session: &Session) -> Timestamp {
    session.previous.expect("a session that was rotated").rotated_at
}

/// Somebody presents the token before the current one.
pub(super) fn replay(session: &Session, now: Timestamp) -> Rotation {
    let hash = session.previous.expect("a session that was rotated").hash;
    let generation = session.refresh.generation - 1;
    presenting(session, PresentedRefresh { generation, hash }, now)
}

/// The same, and its successor may have been lost.
pub(super) fn lost_answer(session: &Session, now: Timestamp) -> Rotation {
    let mut rotation = replay(session, now);
    rotation.replay.lost_answer = LostAnswer::UntilUsed;
    rotation
}

/// Rotates, which must end the session with this outcome, for this reason, and keep all else.
pub(super) async fn ends(
    store: &dyn StoreUnderTest,
    rotation: &Rotation,
    outcome: &RotateOutcome,
    reason: RevokeReason,
) {
    let before = find_session(store, rotation.session).await.expect("a session");
    assert_eq!(rotate(store, rotation).await, *outcome);
    let end = SessionEnd { at: rotation.now, reason };
    let after = again(store, &before).await;
    assert_eq!(after, ended(&before, end), "the row is kept");
    // From here on nothing works, the current token included, and nothing changes any more.
    let revoked = RotateOutcome::Revoked(reason);
    let current = presenting(&after, token_of(&after.refresh), rotation.now);
    writes_nothing(store, rotation, &revoked).await;
    writes_nothing(store, &current, &revoked).await;
}

/// Generation, limits and time of use are the successor's, and the presented token becomes the
/// previous one.
pub async fn the_current_token_is_exchanged_for_its_successor(store: &dyn StoreUnderTest) {
    let mut session = adas_session(store).await;
    for n in 1..=3 {
        let request = rotation(&session, NOW + DAY * n);
        let after = rotated(store, &request).await;
        assert_eq!(after, succeeded(&session, &request, rotated_at(&after)));
        assert_eq!(after.refresh.generation, u64::from(n));
        assert_eq!(after.previous.expect("one before").hash, session.refresh.hash);
        session = after;
    }
    assert_eq!(store.dump().await.counts(), [1, 1, 0, 1]);
}

/// A rotation changes no column but those of the tokens, the time of use and the roles.
pub async fn every_column_survives_a_rotation(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mut opening = openings.new_user(identity("ada"));
    opening.session.refresh.generation = (1 << 53) + 1;
    opening.session.grant.acr = Some("silver".to_owned());
    let session = stored(store, &opening).await;
    let other = stored(store, &openings.existing(session.user)).await;

    let mut request = rotation(&session, soon());
    request.successor.issued_at = NOW + SECOND * 7;
    request.successor.expires_at = NOW + SECOND * 77;
    request.idle_expires_at = NOW + SECOND * 77;
    let after = rotated(store, &request).await;
    assert_eq!(after, succeeded(&session, &request, rotated_at(&after)));
    assert_eq!(again(store, &other).await, other, "another session of the same user");
}

/// No number of refreshes moves the absolute limit.
pub async fn case_43_the_idle_limit_slides_and_the_absolute_limit_never_moves(
    store: &dyn StoreUnderTest,
) {
    let mut session = adas_session(store).await;
    let absolute = session.absolute_expires_at;
    assert_eq!(absolute, NOW + DAY * 90);
    for (day, limit) in [(20, 50), (40, 70), (60, 90), (80, 90), (89, 90)] {
        session = rotated(store, &rotation(&session, NOW + DAY * day)).await;
        assert_eq!(session.refresh.expires_at, NOW + DAY * limit);
        assert_eq!(session.absolute_expires_at, absolute);
        assert_eq!(session.last_used_at, NOW + DAY * day);
    }
    writes_nothing(store, &rotation(&session, absolute), &RotateOutcome::Expired).await;
}

/// All callers get one successor, which one of them has proposed.
pub async fn case_41_the_current_token_fifty_times_at_once_rotates_once(
    store: &dyn StoreUnderTest,
) {
    let session = adas_session(store).await;
    let requests: Vec<_> = (0..50)
        .map(|n| {
            let mut request = rotation(&session, soon());
            request.successor.hash = TokenHash::of(&format!("proposal {n}"));
            request.replay.counted = false;
            request
        })
        .collect();
    let outcomes = rotate_at_once(store, requests.clone()).await;
    let after = again(store, &session).await;
    let rotated = RotateOutcome::Rotated(Box::new(after.clone()));
    let replayed = RotateOutcome::Replayed(Box::new(after.clone()));
    assert_eq!(count(&outcomes, &rotated), 1, "{outcomes:?}");
    assert_eq!(count(&outcomes, &replayed), 49, "{outcomes:?}");
    let winner = outcomes.iter().position(|outcome| *outcome == rotated).expect("a winner");
    assert_eq!(after, succeeded(&session, &requests[winner], rotated_at(&after)));
}

/// Each session gets its own successor.
pub async fn many_sessions_rotate_at_once_without_touching_each_other(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let mut sessions = vec![];
    for _ in 0..RACERS {
        sessions.push(stored(store, &openings.existing(ada.user)).await);
    }
    let requests: Vec<_> = sessions.iter().map(|session| rotation(session, soon())).collect();
    let outcomes = rotate_at_once(store, requests.clone()).await;
    for ((session, request), outcome) in sessions.iter().zip(&requests).zip(outcomes) {
        let after = again(store, session).await;
        assert_eq!(after, succeeded(session, request, rotated_at(&after)));
        assert_eq!(outcome, RotateOutcome::Rotated(Box::new(after)));
    }
    assert_eq!(again(store, &ada).await, ada);
}

/// After a lost answer, with a second tab or by a retry, nobody is signed out and no second
/// successor exists.
pub async fn case_42_the_token_before_gets_the_same_successor_within_the_window(
    store: &dyn StoreUnderTest,
) {
    let first = adas_session(store).await;
    let second = rotated(store, &rotation(&first, soon())).await;
    // Nearly over.
    store.age_rotation(first.id, WINDOW / 8 * 7).await;
    let aged = again(store, &first).await;
    assert_eq!(aged.refresh, second.refresh);
    let mut again_please = replay(&aged, soon());
    again_please.replay.counted = false;
    let replayed = RotateOutcome::Replayed(Box::new(aged.clone()));
    writes_nothing(store, &again_please, &replayed).await;
    // The proposal does not matter.
    again_please.successor.generation = 77;
    again_please.successor.expires_at = NOW;
    writes_nothing(store, &again_please, &replayed).await;
    // Nor has it hurt: the successor is good.
    let third = rotated(store, &rotation(&aged, soon())).await;
    assert_eq!(third.refresh.generation, 2);
}

/// A replay beyond the limit is reuse. The count begins anew with the next rotation.
pub async fn replays_are_counted_up_to_their_limit(store: &dyn StoreUnderTest) {
    let first = adas_session(store).await;
    let mut session = first;
    for _ in 0..2 {
        session = rotated(store, &rotation(&session, soon())).await;
        assert_eq!(session.previous.expect("one before").replays, 0);
        for n in 1..=REPLAYS {
            let request = replay(&session, soon() + SECOND);
            session.previous.as_mut().expect("one before").replays = n;
            let replayed = RotateOutcome::Replayed(Box::new(session.clone()));
            assert_eq!(rotate(store, &request).await, replayed);
            assert_eq!(again(store, &session).await, session, "only the count, not the use");
        }
    }
    let once_more = replay(&session, soon() + SECOND);
    ends(store, &once_more, &RotateOutcome::Reused, RevokeReason::Reuse).await;
}

/// They are answered before and after the limit of counted ones is reached.
pub async fn replays_that_do_not_count_have_no_limit(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let mut session = rotated(store, &rotation(&session, soon())).await;
    for n in 0..=REPLAYS {
        if n > 0 {
            session.previous.as_mut().expect("one before").replays = n;
            let replayed = RotateOutcome::Replayed(Box::new(session.clone()));
            assert_eq!(rotate(store, &replay(&session, soon())).await, replayed);
        }
        let mut uncounted = replay(&session, soon());
        uncounted.replay.counted = false;
        for _ in 0..=REPLAYS {
            let replayed = RotateOutcome::Replayed(Box::new(session.clone()));
            writes_nothing(store, &uncounted, &replayed).await;
        }
    }
}

/// No count is lost between a read and a write.
pub async fn counted_replays_at_once_are_each_counted(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let session = rotated(store, &rotation(&session, soon())).await;
    let outcomes = rotate_at_once(store, vec![replay(&session, soon()); RACERS]).await;
    let replays = outcomes.iter().filter(|outcome| matches!(outcome, RotateOutcome::Replayed(_)));
    assert_eq!(replays.count(), usize::from(REPLAYS), "{outcomes:?}");
    assert_eq!(count(&outcomes, &RotateOutcome::Reused), 1, "{outcomes:?}");
    let after = again(store, &session).await;
    assert_eq!(after.previous.expect("one before").replays, REPLAYS);
    assert_eq!(after.end, Some(SessionEnd { at: soon(), reason: RevokeReason::Reuse }));
}

/// The session's end is stored before the outcome is returned.
pub async fn case_42_the_token_before_is_reuse_after_the_window(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let session = rotated(store, &rotation(&session, soon())).await;
    store.age_rotation(session.id, WINDOW).await;
    let mut late = replay(&session, soon());
    // Whether it counts changes nothing then.
    late.replay.counted = false;
    ends(store, &late, &RotateOutcome::Reused, RevokeReason::Reuse).await;
}

/// A token that is older than the previous one is reuse at any age.
pub async fn case_42_a_token_before_the_one_before_is_reuse(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for subject in ["ada", "bob"] {
        let first = stored(store, &openings.new_user(identity(subject))).await;
        let second = rotated(store, &rotation(&first, soon())).await;
        let third = rotated(store, &rotation(&second, soon())).await;
        let mut presented = token_of(&first.refresh);
        if subject == "bob" {
            // Of a generation that is past, though never stored: as good as superseded.
            presented.hash = TokenHash::of("another token of that generation");
        }
        let mut old = presenting(&third, presented, soon());
        old.replay.lost_answer = LostAnswer::UntilUsed;
        ends(store, &old, &RotateOutcome::Reused, RevokeReason::Reuse).await;
    }
}

/// One caller learns of the reuse, the others find the session ended.
pub async fn case_42_a_reused_token_many_times_at_once_ends_the_session_once(
    store: &dyn StoreUnderTest,
) {
    let first = adas_session(store).await;
    let second = rotated(store, &rotation(&first, soon())).await;
    let third = rotated(store, &rotation(&second, soon())).await;
    let old = presenting(&third, token_of(&first.refresh), soon());
    let outcomes = rotate_at_once(store, vec![old; RACERS]).await;
    assert_eq!(count(&outcomes, &RotateOutcome::Reused), 1, "{outcomes:?}");
    let revoked = RotateOutcome::Revoked(RevokeReason::Reuse);
    assert_eq!(count(&outcomes, &revoked), RACERS - 1, "{outcomes:?}");
}

/// With `grace_secs = 0` every token works once.
pub async fn without_a_window_the_token_before_is_reuse_at_once(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let session = rotated(store, &rotation(&session, soon())).await;
    let mut at_once = replay(&session, soon());
    at_once.replay.window = Duration::ZERO;
    ends(store, &at_once, &RotateOutcome::Reused, RevokeReason::Reuse).await;
}

/// This works any number of times; window and count of replays begin anew each time.
pub async fn until_used_the_token_before_supersedes_its_lost_successor(store: &dyn StoreUnderTest) {
    let first = adas_session(store).await;
    let mut session = rotated(store, &rotation(&first, soon())).await;
    for n in 1..=3 {
        let mut counted = replay(&session, soon());
        assert!(matches!(rotate(store, &counted).await, RotateOutcome::Replayed(_)));
        store.age_rotation(first.id, WINDOW).await;
        let before = again(store, &session).await;
        let request = lost_answer(&before, soon() + DAY * n);
        let after = rotated(store, &request).await;
        assert_eq!(after, succeeded(&before, &request, rotated_at(&after)));
        let previous = after.previous.expect("one before");
        assert_eq!((previous.hash, previous.replays), (first.refresh.hash, 0));
        assert_eq!(after.refresh.generation, session.refresh.generation + 1);
        // A tab that asks at the same time gets the new one.
        counted = lost_answer(&after, soon() + DAY * n);
        counted.replay.counted = false;
        let replayed = RotateOutcome::Replayed(Box::new(after.clone()));
        writes_nothing(store, &counted, &replayed).await;
        session = after;
    }
    // Asked too often is as lost as asked too late.
    for _ in 0..REPLAYS {
        let outcome = rotate(store, &lost_answer(&session, soon() + DAY * 3)).await;
        assert!(matches!(outcome, RotateOutcome::Replayed(_)), "{outcome:?}");
    }
    let session = rotated(store, &lost_answer(&session, soon() + DAY * 3)).await;
    assert_eq!(session.refresh.generation, 5);
}

/// A client that got the lost successor after all cannot use it any more.
pub async fn until_used_a_superseded_successor_is_reuse(store: &dyn StoreUnderTest) {
    let first = adas_session(store).await;
    let lost = rotated(store, &rotation(&first, soon())).await;
    store.age_rotation(first.id, WINDOW).await;
    let later = soon() + SECOND;
    let session = rotated(store, &lost_answer(&lost, later)).await;
    let mut superseded = presenting(&session, token_of(&lost.refresh), later);
    superseded.replay.lost_answer = LostAnswer::UntilUsed;
    ends(store, &superseded, &RotateOutcome::Reused, RevokeReason::Reuse).await;
}

/// A successor that was used was not lost.
pub async fn until_used_the_token_before_is_reuse_once_its_successor_was_used(
    store: &dyn StoreUnderTest,
) {
    let first = adas_session(store).await;
    let second = rotated(store, &rotation(&first, soon())).await;
    let third = rotated(store, &rotation(&second, soon())).await;
    let mut old = presenting(&third, token_of(&first.refresh), soon());
    old.replay.lost_answer = LostAnswer::UntilUsed;
    ends(store, &old, &RotateOutcome::Reused, RevokeReason::Reuse).await;
}

/// One caller replaces the successor, the others are answered with the new one.
pub async fn until_used_many_at_once_supersede_once(store: &dyn StoreUnderTest) {
    let first = adas_session(store).await;
    let lost = rotated(store, &rotation(&first, soon())).await;
    store.age_rotation(first.id, WINDOW).await;
    let requests = (0..RACERS).map(|n| {
        let mut request = lost_answer(&lost, soon() + SECOND);
        request.successor.hash = TokenHash::of(&format!("proposal {n}"));
        request.replay.counted = false;
        request
    });
    let outcomes = rotate_at_once(store, requests.collect()).await;
    let after = again(store, &first).await;
    assert_eq!(after.refresh.generation, 2);
    let rotated = RotateOutcome::Rotated(Box::new(after.clone()));
    assert_eq!(count(&outcomes, &rotated), 1, "{outcomes:?}");
    let replayed = RotateOutcome::Replayed(Box::new(after));
    assert_eq!(count(&outcomes, &replayed), RACERS - 1, "{outcomes:?}");
}

/// A token that is newer than the row, or of its generation with another hash, shows that a backup
/// was restored; the session does not end.
pub async fn a_token_of_a_lost_timeline_changes_nothing(store: &dyn StoreUnderTest) {
    let first = adas_session(store).await;
    let hash = TokenHash::of("a token that was issued after the backup");
    let of_generation = |session: &Session, generation| {
        presenting(session, PresentedRefresh { generation, hash }, soon())
    };
    for generation in [0, 1, 2, 1 << 40] {
        writes_nothing(store, &of_generation(&first, generation), &RotateOutcome::Ahead).await;
    }
    let second = rotated(store, &rotation(&first, soon())).await;
    for generation in [1, 2] {
        let mut ahead = of_generation(&second, generation);
        ahead.replay.lost_answer = LostAnswer::UntilUsed;
        writes_nothing(store, &ahead, &RotateOutcome::Ahead).await;
    }
    rotated(store, &rotation(&second, soon())).await;
}

/// No row is written for it.
pub async fn a_session_that_is_not_there_is_unknown(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let mut request = rotation(&session, soon());
    request.session = SessionId::from_uuid(Uuid::from_u128(0xdead));
    writes_nothing(store, &request, &RotateOutcome::Unknown).await;
}

/// This holds whatever else of the token is right, and in whichever state the session is.
pub async fn case_46_another_users_session_is_unknown(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let nobody = UserId::from_uuid(Uuid::from_u128(0xdead));
    for user in [bob.user, nobody] {
        let mut request = rotation(&ada, soon());
        request.user = user;
        writes_nothing(store, &request, &RotateOutcome::Unknown).await;
        request.now = ada.absolute_expires_at;
        writes_nothing(store, &request, &RotateOutcome::Unknown).await;
    }
    let end = store.store().end_session(ada.id, ada.user, RevokeReason::Admin, NOW).await;
    assert_eq!(end, Ok(EndOutcome::Ended));
    let mut request = rotation(&ada, soon());
    request.user = bob.user;
    writes_nothing(store, &request, &RotateOutcome::Unknown).await;
}

/// The first reason is kept when the session has also expired, its user is disabled, or the token
/// was superseded.
pub async fn an_ended_session_says_why_it_ended(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for reason in RevokeReason::ALL {
        let first = stored(store, &openings.new_user(identity(reason.name()))).await;
        let second = rotated(store, &rotation(&first, soon())).await;
        let end = store.store().end_session(first.id, first.user, reason, soon()).await;
        assert_eq!(end, Ok(EndOutcome::Ended));
        let revoked = RotateOutcome::Revoked(reason);
        let current = rotation(&second, soon());
        writes_nothing(store, &current, &revoked).await;
        writes_nothing(store, &replay(&second, soon()), &revoked).await;
        writes_nothing(store, &rotation(&second, second.absolute_expires_at), &revoked).await;
        store.disable_user(first.user, soon()).await;
        writes_nothing(store, &current, &revoked).await;
    }
}

/// It expires in the second of its limit; only the sweep marks it as ended.
pub async fn a_session_past_its_idle_limit_has_expired(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for (subject, late) in [("ada", 0), ("bob", 1), ("eve", 1_000_000)] {
        let session = stored(store, &openings.new_user(identity(subject))).await;
        let limit = session.refresh.expires_at;
        assert!(limit < session.absolute_expires_at);
        let request = rotation(&session, limit + SECOND * late);
        writes_nothing(store, &request, &RotateOutcome::Expired).await;
        let superseded = PresentedRefresh { generation: 0, hash: TokenHash::of("another") };
        let request = presenting(&session, superseded, limit + SECOND * late);
        writes_nothing(store, &request, &RotateOutcome::Expired).await;
        rotated(store, &rotation(&session, limit - SECOND)).await;
    }
}

/// The last refresh token expires at the absolute limit.
pub async fn a_session_past_its_absolute_limit_has_expired(store: &dyn StoreUnderTest) {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.session.absolute_expires_at = opening.session.refresh.expires_at + DAY;
    let session = stored(store, &opening).await;
    let session = rotated(store, &rotation(&session, NOW + DAY * 5)).await;
    let limit = session.absolute_expires_at;
    assert_eq!(session.refresh.expires_at, limit);
    for now in [limit, limit + SECOND] {
        writes_nothing(store, &rotation(&session, now), &RotateOutcome::Expired).await;
        writes_nothing(store, &replay(&session, now), &RotateOutcome::Expired).await;
    }
    let last = rotated(store, &rotation(&session, limit - SECOND)).await;
    assert_eq!(last.refresh.expires_at, limit);
}

/// Every live session of the user ends; those of others go on.
pub async fn case_32_a_disabled_user_is_shut_out_at_the_next_refresh(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let current = stored(store, &openings.new_user(identity("ada"))).await;
    let superseded = stored(store, &openings.existing(current.user)).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let superseded = rotated(store, &rotation(&superseded, soon())).await;
    store.disable_user(current.user, NOW).await;

    let reason = RevokeReason::UserDisabled;
    let outcome = RotateOutcome::UserDisabled { ended: 2 };
    ends(store, &rotation(&current, soon()), &outcome, reason).await;
    let end = SessionEnd { at: soon(), reason };
    assert_eq!(again(store, &superseded).await, ended(&superseded, end));
    writes_nothing(store, &replay(&superseded, soon()), &RotateOutcome::Revoked(reason)).await;
    rotated(store, &rotation(&bob, soon())).await;
}

/// One caller learns how many sessions it has ended, the others that they have ended.
pub async fn case_32_many_refreshes_of_a_disabled_user_end_the_session_once(
    store: &dyn StoreUnderTest,
) {
    let session = adas_session(store).await;
    store.disable_user(session.user, NOW).await;
    let outcomes = rotate_at_once(store, vec![rotation(&session, soon()); RACERS]).await;
    assert_eq!(count(&outcomes, &RotateOutcome::UserDisabled { ended: 1 }), 1, "{outcomes:?}");
    // Those who read the session while it was being ended found nothing left to end.
    let late = count(&outcomes, &RotateOutcome::UserDisabled { ended: 0 })
        + count(&outcomes, &RotateOutcome::Revoked(RevokeReason::UserDisabled));
    assert_eq!(late, RACERS - 1, "{outcomes:?}");
}

/// No generation is skipped, and none is given twice.
pub async fn a_successor_of_another_generation_is_to_be_made_anew(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let session = rotated(store, &rotation(&session, soon())).await;
    let remint = RotateOutcome::Remint(Box::new(session.clone()));
    for generation in [0, 1, 3, 1 << 40] {
        let mut request = rotation(&session, soon());
        request.successor.generation = generation;
        writes_nothing(store, &request, &remint).await;
    }
    rotated(store, &rotation(&session, soon())).await;
}

/// A longer and a shorter absolute limit than the session's are both refused.
pub async fn a_successor_with_another_limit_is_to_be_made_anew(store: &dyn StoreUnderTest) {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.session.absolute_expires_at = opening.session.refresh.expires_at + DAY;
    let session = stored(store, &opening).await;
    let remint = RotateOutcome::Remint(Box::new(session.clone()));
    let (early, late) = (NOW + SECOND, NOW + DAY * 10);
    let absolute = session.absolute_expires_at;
    for (now, wrong) in [
        (early, early + IDLE + SECOND),
        (early, early + IDLE - SECOND),
        (early, absolute),
        (late, late + IDLE),
        (late, absolute + SECOND),
        (late, absolute - SECOND),
        (late, late),
    ] {
        let mut request = rotation(&session, now);
        request.successor.expires_at = wrong;
        writes_nothing(store, &request, &remint).await;
    }
    let session = rotated(store, &rotation(&session, early)).await;
    assert_eq!(session.refresh.expires_at, early + IDLE);
    let session = rotated(store, &rotation(&session, late)).await;
    assert_eq!(session.refresh.expires_at, absolute);
}

/// A successor that was signed for the presented generation is one too low to replace the lost one.
pub async fn until_used_a_successor_that_does_not_fit_is_to_be_made_anew(
    store: &dyn StoreUnderTest,
) {
    let first = adas_session(store).await;
    let lost = rotated(store, &rotation(&first, soon())).await;
    store.age_rotation(first.id, WINDOW).await;
    let lost = again(store, &lost).await;
    let remint = RotateOutcome::Remint(Box::new(lost.clone()));
    let mut of_the_presented = lost_answer(&lost, soon());
    of_the_presented.successor = successor(&first, soon());
    writes_nothing(store, &of_the_presented, &remint).await;
    let mut too_long = lost_answer(&lost, soon());
    too_long.successor.expires_at = lost.absolute_expires_at;
    writes_nothing(store, &too_long, &remint).await;
    rotated(store, &lost_answer(&lost, soon())).await;
}

/// Refreshes race with the end: every refresh that begins after the acknowledgement is refused, and
/// the end stays as it was.
pub async fn case_43_after_an_acknowledged_end_no_refresh_works(store: &dyn StoreUnderTest) {
    const ROUNDS: u64 = 25;
    const AT_ONCE: usize = 8;

    let openings = Openings::default();
    for round in 0..ROUNDS {
        let mut session = stored(store, &openings.new_user(identity(&round.to_string()))).await;
        let (signal, signalled) = oneshot::channel();
        let mut signal = Some(signal);
        let (ports, id, user) = (store.store(), session.id, session.user);
        let ending = tokio::spawn(async move {
            signalled.await.expect("a beginning");
            ports.end_session(id, user, RevokeReason::Logout, soon()).await
        });
        // Refresh upon refresh, several at once, into one of which the end falls.
        loop {
            if session.refresh.generation == round % 4
                && let Some(signal) = signal.take()
            {
                signal.send(()).expect("somebody waits");
            }
            let mut request = rotation(&session, soon());
            request.replay.counted = false;
            let was_ended = ending.is_finished();
            let outcomes = rotate_at_once(store, vec![request; AT_ONCE]).await;
            let revoked = RotateOutcome::Revoked(RevokeReason::Logout);
            let refused = count(&outcomes, &revoked);
            assert!(!was_ended || refused == AT_ONCE, "refreshed after the end: {outcomes:?}");
            let next = outcomes.into_iter().find_map(|outcome| match outcome {
                RotateOutcome::Rotated(session) => Some(session),
                _ => None,
            });
            let Some(next) = next else {
                assert_eq!(refused, AT_ONCE);
                break;
            };
            session = *next;
        }
        assert_eq!(ending.await.expect("an end"), Ok(EndOutcome::Ended));
        let end = SessionEnd { at: soon(), reason: RevokeReason::Logout };
        assert_eq!(again(store, &session).await, ended(&session, end));
    }
}
