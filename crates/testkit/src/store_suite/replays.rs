//! Presenting the previous token, or one from before it: a lost answer, a second tab, or a thief.

use std::time::Duration;

use mintgate_domain::model::{LostAnswer, RevokeReason, SessionEnd};
use mintgate_domain::{RotateOutcome, TokenHash};

use super::rotation::{DAY, SECOND, ends, lost_answer, replay, rotated_at, succeeded};
use super::{
    RACERS, adas_session, again, count, rotate, rotate_at_once, rotated, soon, stored,
    writes_nothing,
};
use crate::openings::{NOW, Openings, identity};
use crate::rotations::{REPLAYS, WINDOW, presenting, rotation, successor, token_of};
use crate::store_under_test::StoreUnderTest;

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
