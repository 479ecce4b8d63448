//! Refreshing: one current token at a time, whoever presents what how often.

use std::time::Duration;

use mintgate_domain::model::{
    LostAnswer, NewerToken, PresentedRefresh, PreviousToken, RevokeReason, Rotation, Session,
    SessionEnd, SessionId, Timestamp, UserId,
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
use crate::rotations::{IDLE, presenting, rotation, token_of};
use crate::store_under_test::StoreUnderTest;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const DAY: Duration = Duration::from_hours(24);

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

/// Where such tokens are followed, the session goes on from one, whose answer may get lost too. What the row held
/// before is older then. A session that has ended stays so.
pub async fn a_token_of_a_lost_timeline_is_followed(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for ahead in [0, 1, 7] {
        let session = stored(store, &openings.new_user(identity(&format!("by {ahead}")))).await;
        let newer = |hash: &str, proposal: &str| {
            let (hash, generation) = (TokenHash::of(hash), session.refresh.generation + ahead);
            let mut rotation = presenting(&session, PresentedRefresh { generation, hash }, soon());
            rotation.replay.newer_token = NewerToken::Follow;
            rotation.successor.generation = rotation.next_generation(&session);
            rotation.successor.hash = TokenHash::of(&format!("{proposal} for {ahead}"));
            rotation
        };
        let request = newer("of a lost timeline", "successor");
        let outcome = rotate(store, &request).await;
        let after = again(store, &session).await;
        assert_eq!(outcome, RotateOutcome::Followed(Box::new(after.clone())));
        assert_eq!(after, succeeded(&session, &request, rotated_at(&after)));
        assert_eq!(after.refresh.generation, session.refresh.generation + ahead + 1);

        let repeated = rotate(store, &newer("of a lost timeline", "another successor")).await;
        let replayed = again(store, &session).await;
        assert_eq!(replayed.refresh, after.refresh);
        assert_eq!(repeated, RotateOutcome::Replayed(Box::new(replayed)));
        let next = rotated(store, &rotation(&after, soon())).await;
        assert_eq!(next.refresh.generation, after.refresh.generation + 1);

        let end = SessionEnd { at: soon(), reason: RevokeReason::Logout };
        let repo = store.store().sessions.repo;
        let ended = repo.end_session(session.id, session.user, end.reason, end.at).await;
        assert_eq!(ended, Ok(EndOutcome::Ended));
        let mut late = newer("of a lost timeline, later", "late successor");
        late.presented.generation += 10;
        writes_nothing(store, &late, &RotateOutcome::Revoked(end.reason)).await;
    }
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
    let end =
        store.store().sessions.repo.end_session(ada.id, ada.user, RevokeReason::Admin, NOW).await;
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
        let end =
            store.store().sessions.repo.end_session(first.id, first.user, reason, soon()).await;
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
            ports.sessions.repo.end_session(id, user, RevokeReason::Logout, soon()).await
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
