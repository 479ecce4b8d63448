//! The restore epoch: ending every session that was opened before a backup was restored.

use std::time::Duration;

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{LostAnswer, RevokeReason, Session, SessionEnd, Timestamp};
use mintgate_domain::ports::{EndedStep, OpenOutcome};

use super::epochs::{open_as_it_is, under_way};
use super::writes_nothing;
use super::{again, at_once, ended, find_session, is_one_engine, rotate, rotated, soon, stored};
use crate::openings::{NOW, Openings, identity};
use crate::rotations::{presenting, rotation, token_of};
use crate::store_under_test::{StoreCalls as _, StoreUnderTest};

const RESTORED: RotateOutcome = RotateOutcome::Revoked(RevokeReason::Restored);

async fn raise(store: &dyn StoreUnderTest, now: Timestamp) -> u64 {
    store.store().sessions.users.raise_restore_epoch(now).await.expect("an epoch")
}

async fn listed(store: &dyn StoreUnderTest, session: &Session) -> usize {
    let live = store.store().sessions.list(session.user, soon(), 10).await;
    live.expect("sessions").len()
}

fn end_at(at: Timestamp) -> SessionEnd {
    SessionEnd { at, reason: RevokeReason::Restored }
}

/// The epoch alone ends them, whatever their rows say: the current token, the previous one within the
/// window and after it, the list, and sign-ins that were decided before.
pub async fn a_restore_ends_every_session_that_was_opened_before(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = stored(store, &openings.new_user(identity("ada"))).await;
    let ada = rotated(store, &rotation(&first, soon())).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let signing_in = under_way(store, &openings, "ada").await;
    assert_eq!(listed(store, &ada).await, 1);

    raise(store, soon()).await;
    writes_nothing(store, &rotation(&ada, soon()), &RESTORED).await;
    writes_nothing(store, &rotation(&bob, soon()), &RESTORED).await;
    let mut previous = presenting(&ada, token_of(&first.refresh), soon());
    for (window, lost_answer) in [
        (previous.replay.window, LostAnswer::Grace),
        (Duration::ZERO, LostAnswer::Grace),
        (Duration::ZERO, LostAnswer::UntilUsed),
    ] {
        (previous.replay.window, previous.replay.lost_answer) = (window, lost_answer);
        for counted in [true, false] {
            previous.replay.counted = counted;
            writes_nothing(store, &previous, &RESTORED).await;
        }
    }
    assert_eq!(listed(store, &ada).await, 0);
    assert_eq!(open_as_it_is(store, &signing_in).await, OpenOutcome::PersonChanged);
    if is_one_engine(store) {
        assert_eq!(find_session(store, signing_in.session.id).await, None);
    }

    let later = under_way(store, &openings, "ada").await;
    assert_eq!(open_as_it_is(store, &later).await, OpenOutcome::Opened);
    let later = find_session(store, later.session.id).await.expect("a session");
    rotated(store, &rotation(&later, soon())).await;
    assert_eq!(listed(store, &ada).await, 1);
}

/// The first session of a new user, too, belongs to the time after the restore.
pub async fn sessions_opened_after_a_restore_go_on(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let epoch = raise(store, soon()).await;
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    assert_eq!(ada.epochs.restore, epoch);
    let second = under_way(store, &openings, "ada").await;
    assert_eq!(open_as_it_is(store, &second).await, OpenOutcome::Opened);
    rotated(store, &rotation(&ada, soon())).await;
    assert_eq!(listed(store, &ada).await, 2);
}

/// Another restore of the same backup, which has forgotten the epoch of the first one, gets a larger one;
/// so does one by a clock that was set back.
pub async fn a_restore_epoch_is_the_time_and_always_larger(store: &dyn StoreUnderTest) {
    let seconds = |at: Timestamp| u64::try_from(at.as_unix()).expect("a time since 1970");
    assert_eq!(raise(store, NOW).await, seconds(NOW));
    assert_eq!(raise(store, NOW).await, seconds(NOW) + 1);
    assert_eq!(raise(store, NOW - Duration::from_hours(1)).await, seconds(NOW) + 2);
    assert_eq!(raise(store, soon()).await, seconds(soon()));
}

/// Step by step, the rows of the live ones say when and why they ended; those that had ended before, or
/// were opened since, stay as they are.
pub async fn the_rows_of_sessions_before_a_restore_are_ended_in_steps(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let repo = store.store().sessions.repo;
    let mut before = vec![];
    for name in ["ada", "bob", "cyd"] {
        before.push(stored(store, &openings.new_user(identity(name))).await);
    }
    let logged_out = &before[1];
    let reason = RevokeReason::Logout;
    repo.end_session(logged_out.id, logged_out.user, reason, NOW).await.expect("an outcome");
    let epoch = raise(store, soon()).await;
    let since = stored(store, &openings.new_user(identity("dan"))).await;

    let (mut steps, mut after) = (vec![], None);
    loop {
        let step = repo.end_restored(epoch, after, 2, end_at(soon())).await.expect("a step");
        steps.push(step);
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(steps.iter().map(|step| step.ended).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!(again(store, &before[0]).await, ended(&before[0], end_at(soon())));
    let logout = SessionEnd { at: NOW, reason };
    assert_eq!(again(store, logged_out).await, ended(logged_out, logout));
    assert_eq!(again(store, &before[2]).await, ended(&before[2], end_at(soon())));
    assert_eq!(again(store, &since).await, since);
    let nothing = EndedStep { ended: 0, next: None };
    assert_eq!(repo.end_restored(epoch, None, 10, end_at(soon())).await, Ok(nothing));
}

/// A refresh that is under way while the epoch is raised and the rows are ended has either been answered
/// before, or gets nothing; afterwards no token of the session works.
pub async fn after_an_acknowledged_restore_no_refresh_works(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for n in 0..8 {
        let session = stored(store, &openings.new_user(identity(&format!("ada-{n}")))).await;
        let outcomes = at_once(store, [true, false], |stores, restores| {
            let session = session.clone();
            async move {
                if !restores {
                    return stores.rotate(&rotation(&session, soon())).await.expect("an outcome");
                }
                let sessions = &stores.sessions;
                let epoch = sessions.users.raise_restore_epoch(soon()).await.expect("an epoch");
                let step = sessions.repo.end_restored(epoch, None, 1_000, end_at(soon())).await;
                step.expect("a step");
                RESTORED
            }
        })
        .await;
        let now = again(store, &session).await;
        assert_eq!(now.end, Some(end_at(soon())));
        match &outcomes[1] {
            RotateOutcome::Rotated(_) => assert_eq!(now.refresh.generation, 1),
            refused => assert_eq!(*refused, RESTORED),
        }
        assert_eq!(rotate(store, &rotation(&now, soon())).await, RESTORED);
        assert_eq!(rotate(store, &rotation(&session, soon())).await, RESTORED);
    }
}
