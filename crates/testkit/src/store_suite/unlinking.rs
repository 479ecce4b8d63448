//! Taking identities away from users, and the sessions that go with them.

use std::time::Duration;

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{
    ExternalIdentity, RevokeReason, Session, SessionEnd, SessionEpochs, SessionId, UserId,
};
use mintgate_domain::ports::{LinkOutcome, OpenOutcome, UnlinkOutcome};
use uuid::Uuid;

use super::identities::{elsewhere, identities, link};
use super::sign_in::near_misses;
use super::{
    CALLERS, again, at_once, count, ended, find, is_one_engine, known_user, no_refresh_works,
    rotate_at_once, rotated, soon, stored, writes_nothing,
};
use crate::openings::{Openings, identity};
use crate::rotations::rotation;
use crate::store_under_test::{StoreCalls as _, StoreUnderTest};

const SECOND: Duration = Duration::from_secs(1);

/// How sessions end here.
fn unlinked() -> SessionEnd {
    SessionEnd { at: soon(), reason: RevokeReason::Logout }
}

/// The epochs of a session that outlives the unlinking of its identity.
fn without_identity(session: &Session) -> SessionEpochs {
    SessionEpochs { identity: None, ..session.epochs }
}

/// No session has this id.
fn no_session() -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(0xdead))
}

async fn unlink(
    store: &dyn StoreUnderTest,
    user: UserId,
    identity: &ExternalIdentity,
    keep: SessionId,
) -> UnlinkOutcome {
    let SessionEnd { at, reason } = unlinked();
    let outcome = store.store().sessions.unlink(user, identity, keep, reason, at).await;
    outcome.expect("an outcome")
}

/// Unlinks, which must not work, and must not change anything.
async fn is_not_unlinked(
    store: &dyn StoreUnderTest,
    user: UserId,
    identity: &ExternalIdentity,
    with: UnlinkOutcome,
) {
    let before = store.dump().await;
    assert_eq!(unlink(store, user, identity, no_session()).await, with);
    assert_eq!(store.dump().await, before, "{with:?} must not write");
}

/// A session of somebody called Ada, known by two identities.
async fn ada_with_two_identities(store: &dyn StoreUnderTest, openings: &Openings) -> Session {
    let session = stored(store, &openings.new_user(identity("ada"))).await;
    let linked = link(store, session.user, &elsewhere("ada"), None).await;
    assert_eq!(linked, LinkOutcome::Linked);
    session
}

/// Whoever signs in with an unlinked identity is a new user; this holds for the user's first
/// identity too.
pub async fn an_unlinked_identity_is_nobodys(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = ada_with_two_identities(store, &openings).await;
    let outcome = unlink(store, session.user, &identity("ada"), session.id).await;
    assert_eq!(outcome, UnlinkOutcome::Unlinked { ended: 0 });
    assert_eq!(find(store, &identity("ada")).await, None);
    assert_eq!(find(store, &elsewhere("ada")).await, Some(session.user));
    let left = identities(store, session.user).await;
    assert_eq!(left.into_iter().map(|one| one.identity).collect::<Vec<_>>(), [elsewhere("ada")]);
    is_not_unlinked(store, session.user, &identity("ada"), UnlinkOutcome::Unknown).await;

    let somebody_new = known_user(store, &openings, "ada").await;
    assert_ne!(somebody_new, session.user);
    assert_eq!(find(store, &identity("ada")).await, Some(somebody_new));
}

/// The user who had it can link it again, too.
pub async fn an_unlinked_identity_can_be_linked_by_another_user(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    let wanted = elsewhere("wanted");
    for (user, other) in [(ada, bob), (bob, ada), (ada, bob), (ada, bob)] {
        assert_eq!(link(store, user, &wanted, None).await, LinkOutcome::Linked);
        assert_eq!(link(store, other, &wanted, None).await, LinkOutcome::Taken);
        let outcome = unlink(store, user, &wanted, no_session()).await;
        assert_eq!(outcome, UnlinkOutcome::Unlinked { ended: 0 });
        assert_eq!(find(store, &wanted).await, None);
    }
}

/// Sessions of the user's other identity, of other users, and those that have ended or expired stay
/// as they are.
pub async fn unlinking_ends_the_sessions_signed_in_with_it_and_no_other(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let first = stored(store, &openings.new_user(identity("ada"))).await;
    let user = first.user;
    let gone = elsewhere("ada");
    // The identity was another user's once, whose session was kept.
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    assert_eq!(link(store, bob.user, &gone, None).await, LinkOutcome::Linked);
    let bobs = stored(store, &openings.existing_with(bob.user, gone.clone())).await;
    let outcome = unlink(store, bob.user, &gone, bobs.id).await;
    assert_eq!(outcome, UnlinkOutcome::Unlinked { ended: 0 });

    assert_eq!(link(store, user, &gone, None).await, LinkOutcome::Linked);
    let mut to_end = vec![];
    for _ in 0..3 {
        to_end.push(stored(store, &openings.existing_with(user, gone.clone())).await);
    }
    to_end[1] = rotated(store, &rotation(&to_end[1], soon())).await;
    let kept = stored(store, &openings.existing_with(user, gone.clone())).await;
    let over = stored(store, &openings.existing_with(user, gone.clone())).await;
    let reason = RevokeReason::Admin;
    store
        .store()
        .sessions
        .repo
        .end_session(over.id, user, reason, soon() - SECOND)
        .await
        .expect("an end");
    let over = again(store, &over).await;
    let mut run_out = openings.existing_with(user, gone.clone());
    run_out.session.refresh.expires_at = soon();
    let run_out = stored(store, &run_out).await;

    let outcome = unlink(store, user, &gone, kept.id).await;
    assert_eq!(outcome, UnlinkOutcome::Unlinked { ended: 3 });
    for session in to_end {
        assert_eq!(again(store, &session).await, ended(&session, unlinked()));
        let revoked = RotateOutcome::Revoked(unlinked().reason);
        writes_nothing(store, &rotation(&session, soon()), &revoked).await;
    }
    let [bobs, kept] =
        [bobs, kept].map(|session| Session { epochs: without_identity(&session), ..session });
    for untouched in [&first, &bob, &bobs, &kept, &over, &run_out] {
        assert_eq!(again(store, untouched).await, *untouched);
    }
}

/// The session that asks goes on and can be refreshed, whichever identity it was signed in with.
pub async fn unlinking_keeps_the_session_that_asks(store: &dyn StoreUnderTest) {
    let session = ada_with_two_identities(store, &Openings::default()).await;
    let outcome = unlink(store, session.user, &identity("ada"), session.id).await;
    assert_eq!(outcome, UnlinkOutcome::Unlinked { ended: 0 });
    let kept = Session { epochs: without_identity(&session), ..session };
    assert_eq!(again(store, &kept).await, kept);
    let session = rotated(store, &rotation(&kept, soon())).await;
    assert_eq!(session.identity, identity("ada"));
}

/// An identity that only looks like the unlinked one stays, with its sessions.
pub async fn case_30_unlinking_compares_byte_for_byte(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let mut sessions = vec![];
    for near in near_misses() {
        is_not_unlinked(store, ada, &near, UnlinkOutcome::Unknown).await;
        assert_eq!(link(store, ada, &near, None).await, LinkOutcome::Linked);
        sessions.push(stored(store, &openings.existing_with(ada, near)).await);
    }
    for (n, near) in near_misses().iter().enumerate() {
        let outcome = unlink(store, ada, near, no_session()).await;
        assert_eq!(outcome, UnlinkOutcome::Unlinked { ended: 1 }, "{near:?}");
        assert_eq!(find(store, near).await, None);
        assert_eq!(identities(store, ada).await.len(), near_misses().len() - n);
        sessions[n].end = Some(unlinked());
        for session in &sessions {
            assert_eq!(again(store, session).await, *session, "{near:?}");
        }
    }
    assert_eq!(find(store, &identity("ada")).await, Some(ada));
}

/// The only identity of a user cannot be unlinked, and its sessions go on.
pub async fn the_last_identity_stays(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = ada_with_two_identities(store, &openings).await;
    let bob = known_user(store, &openings, "bob").await;
    is_not_unlinked(store, bob, &identity("bob"), UnlinkOutcome::Last).await;
    let outcome = unlink(store, session.user, &elsewhere("ada"), no_session()).await;
    assert_eq!(outcome, UnlinkOutcome::Unlinked { ended: 0 });
    is_not_unlinked(store, session.user, &identity("ada"), UnlinkOutcome::Last).await;
    assert_eq!(find(store, &identity("ada")).await, Some(session.user));
    assert_eq!(again(store, &session).await, session);
}

/// Nobody's and another user's identity are both unknown.
pub async fn an_identity_the_user_has_not_is_unknown(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mut users = vec![];
    for name in ["ada", "bob"] {
        let session = stored(store, &openings.new_user(identity(name))).await;
        assert_eq!(link(store, session.user, &elsewhere(name), None).await, LinkOutcome::Linked);
        users.push(session.user);
    }
    for anothers in [identity("bob"), elsewhere("bob"), identity("eve"), elsewhere("ADA")] {
        is_not_unlinked(store, users[0], &anothers, UnlinkOutcome::Unknown).await;
    }
    let nobody = UserId::from_uuid(Uuid::from_u128(0xdead));
    is_not_unlinked(store, nobody, &identity("ada"), UnlinkOutcome::Unknown).await;
}

/// Many calls at once never unlink the last identity.
pub async fn of_two_identities_unlinked_by_many_at_once_one_stays(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for round in 0..5 {
        let subject = format!("round {round}");
        let session = stored(store, &openings.new_user(identity(&subject))).await;
        let user = session.user;
        assert_eq!(link(store, user, &elsewhere(&subject), None).await, LinkOutcome::Linked);
        let other = stored(store, &openings.existing_with(user, elsewhere(&subject))).await;

        let both = [identity(&subject), elsewhere(&subject)];
        let racers = (0..CALLERS).map(|n| both[n % 2].clone());
        let outcomes = at_once(store, racers, |store, identity| async move {
            let SessionEnd { at, reason } = unlinked();
            let outcome = store.sessions.unlink(user, &identity, no_session(), reason, at).await;
            outcome.expect("an outcome")
        })
        .await;
        // The others came too late for the one, or for the last one.
        let gone = UnlinkOutcome::Unlinked { ended: 1 };
        assert_eq!(count(&outcomes, &gone), 1, "{outcomes:?}");
        assert_eq!(count(&outcomes, &UnlinkOutcome::Unknown), CALLERS / 2 - 1, "{outcomes:?}");
        assert_eq!(count(&outcomes, &UnlinkOutcome::Last), CALLERS / 2, "{outcomes:?}");
        let gone = outcomes.iter().position(|outcome| *outcome == gone).expect("one") % 2;
        let left = identities(store, user).await;
        let left: Vec<_> = left.into_iter().map(|linked| linked.identity).collect();
        assert_eq!(left, [both[1 - gone].clone()]);
        let sessions = [session, other];
        assert_eq!(again(store, &sessions[gone]).await, ended(&sessions[gone], unlinked()));
        assert_eq!(again(store, &sessions[1 - gone]).await, sessions[1 - gone]);
    }
}

/// This includes a sign-in under way that found the user before.
pub async fn after_an_acknowledged_unlinking_no_sign_in_lives(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for round in 0..10 {
        let subject = format!("round {round}");
        let session = stored(store, &openings.new_user(identity(&subject))).await;
        let (user, gone) = (session.user, elsewhere(&subject));
        assert_eq!(link(store, user, &gone, None).await, LinkOutcome::Linked);
        let signing_in: Vec<_> =
            (0..CALLERS).map(|_| openings.existing_with(user, gone.clone())).collect();
        let ids: Vec<_> = signing_in.iter().map(|opening| opening.session.id).collect();
        let unlinking = unlink(store, user, &gone, session.id);
        let opening = super::open_at_once(store, signing_in);
        let (outcomes, outcome) = futures_util::future::join(opening, unlinking).await;
        let opened = count(&outcomes, &OpenOutcome::Opened);
        assert_eq!(count(&outcomes, &OpenOutcome::PersonChanged), CALLERS - opened);
        let UnlinkOutcome::Unlinked { ended } = outcome else { panic!("{outcome:?}") };
        let opened = u64::try_from(opened).expect("a small number");
        assert!(
            ended == opened || ended > opened && !is_one_engine(store),
            "{ended}: {outcomes:?}"
        );
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            let found = store.store().find_session(id).await.expect("an answer");
            match (outcome, found) {
                (OpenOutcome::Opened, found) => {
                    assert_eq!(found.expect("a session").end, Some(unlinked()));
                }
                (_, None) => {}
                // It was written before the person was looked at again.
                (_, Some(found)) => assert!(found.end.is_some() && !is_one_engine(store)),
            }
        }
    }
}

/// This includes a refresh that was under way at the time.
pub async fn after_an_acknowledged_unlinking_no_refresh_works(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = ada_with_two_identities(store, &openings).await;
    let mut sessions = vec![];
    for _ in 0..CALLERS {
        let opening = openings.existing_with(ada.user, elsewhere("ada"));
        sessions.push(stored(store, &opening).await);
    }
    let requests = sessions.iter().map(|session| rotation(session, soon())).collect();
    let gone = elsewhere("ada");
    let unlinking = async {
        let outcome = unlink(store, ada.user, &gone, ada.id).await;
        let mut found = vec![];
        for session in &sessions {
            found.push(again(store, session).await);
        }
        (outcome, found)
    };
    let refreshing = rotate_at_once(store, requests);
    let (outcomes, (outcome, found)) = futures_util::future::join(refreshing, unlinking).await;
    let ended = u64::try_from(CALLERS).expect("a small number");
    assert_eq!(outcome, UnlinkOutcome::Unlinked { ended });
    for (session, outcome) in found.iter().zip(&outcomes) {
        no_refresh_works(store, session, outcome, unlinked()).await;
    }
}
