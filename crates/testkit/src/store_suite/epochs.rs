//! Session epochs: ending all sessions of a user, or of an identity, by one write; and the small
//! calls that the use cases are built from.

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{NewIdentity, ProviderId, RevokeReason, SessionEnd};
use mintgate_domain::ports::{LinkOutcome, LogoutOrder, OpenOutcome, SessionChange};

use super::{
    CALLERS, adas_session, again, at_once, count, ended, find_session, is_one_engine, is_refused,
    rotate, rotated, soon, stored, writes_nothing,
};
use crate::openings::{NOW, Opening, Openings, identity, single_use};
use crate::rotations::rotation;
use crate::store_under_test::{StoreCalls as _, StoreUnderTest};

/// The opening of a sign-in that has read the person, and has not stored its session yet.
pub(super) async fn under_way(
    store: &dyn StoreUnderTest,
    openings: &Openings,
    subject: &str,
) -> Opening {
    let found =
        store.store().sessions.users.find_user(&identity(subject)).await.expect("an answer");
    let person = found.expect("a user");
    let mut opening = openings.existing_with(person.user.id, identity(subject));
    opening.session.epochs = person.epochs();
    opening
}

/// Stores exactly this, with the epochs it has.
pub(super) async fn open_as_it_is(store: &dyn StoreUnderTest, opening: &Opening) -> OpenOutcome {
    store.store().sessions.open(&opening.opening).await.expect("an outcome")
}

/// Existing sessions end, and a sign-in that was decided before stores nothing; a later sign-in
/// works.
pub async fn ending_all_sessions_of_a_user_ends_sign_ins_under_way(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = stored(store, &openings.new_user(identity("ada"))).await;
    let signing_in = under_way(store, &openings, "ada").await;
    let ending = store.store().sessions.end_all(session.user, RevokeReason::Admin, soon()).await;
    assert_eq!(ending, Ok(1));

    let before = store.dump().await;
    assert_eq!(open_as_it_is(store, &signing_in).await, OpenOutcome::PersonChanged);
    if is_one_engine(store) {
        assert_eq!(store.dump().await, before, "a refusal must not write");
    } else {
        assert!(
            find_session(store, signing_in.session.id)
                .await
                .is_some_and(|session| session.end.is_some())
        );
    }
    let revoked = RotateOutcome::Revoked(RevokeReason::Admin);
    writes_nothing(store, &rotation(&session, soon()), &revoked).await;
    let later = under_way(store, &openings, "ada").await;
    assert_eq!(open_as_it_is(store, &later).await, OpenOutcome::Opened);
    rotated(store, &rotation(&super::find_session(store, later.session.id).await.unwrap(), soon()))
        .await;
}

/// Sessions and sign-ins of the user's other identities go on.
pub async fn ending_all_sessions_of_an_identity_ends_sign_ins_under_way(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let signing_in = under_way(store, &openings, "ada").await;
    let bobs = under_way(store, &openings, "bob").await;
    let reason = RevokeReason::ProviderLogout;
    let ending =
        store.store().sessions.users.end_identity_sessions(&identity("ada"), reason, soon()).await;
    assert_eq!(ending, Ok(1));
    assert_eq!(again(store, &ada).await, ended(&ada, SessionEnd { at: soon(), reason }));
    assert_eq!(open_as_it_is(store, &signing_in).await, OpenOutcome::PersonChanged);
    assert_eq!(open_as_it_is(store, &bobs).await, OpenOutcome::Opened);
    rotated(store, &rotation(&bob, soon())).await;
    let nobody = store
        .store()
        .sessions
        .users
        .end_identity_sessions(&identity("nobody"), reason, soon())
        .await;
    assert_eq!(nobody, Ok(0));
}

/// An order that also names a session at the provider ends that one alone.
pub async fn an_order_about_a_subject_ends_sign_ins_under_way(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let order = |subject: Option<&str>, session: Option<&str>, name: &str| LogoutOrder {
        issuer: identity("ada").issuer,
        subject: subject.map(str::to_owned),
        session: session.map(str::to_owned),
        id: single_use(name).hash,
        expires_at: single_use(name).expires_at,
    };
    let signing_in = under_way(store, &openings, "ada").await;
    let of_both = order(Some("ada"), Some("another"), "both");
    store.store().sessions.end_by_provider(&of_both, soon()).await.expect("an outcome");
    assert_eq!(open_as_it_is(store, &signing_in).await, OpenOutcome::Opened);

    let signing_in = under_way(store, &openings, "ada").await;
    let of_subject = order(Some("ada"), None, "subject");
    store.store().sessions.end_by_provider(&of_subject, soon()).await.expect("an outcome");
    assert_eq!(open_as_it_is(store, &signing_in).await, OpenOutcome::PersonChanged);
    assert!(again(store, &ada).await.end.is_some());
}

/// A sign-in from before the unlinking does not count as one of the identity that is linked again.
pub async fn an_identity_that_is_linked_again_has_an_epoch_of_its_own(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let new = NewIdentity {
        identity: identity("second"),
        provider: ProviderId::new("corp"),
        now: soon(),
    };
    let reason = RevokeReason::Logout;
    let unlink = async || {
        let store = store.store();
        store.sessions.unlink(ada.user, &new.identity, ada.id, reason, soon()).await.unwrap();
    };
    for _ in 0..3 {
        let linked = store.store().sessions.link(ada.user, &new, None).await;
        assert_eq!(linked, Ok(LinkOutcome::Linked));
        let signing_in = under_way(store, &openings, "second").await;
        unlink().await;
        let linked = store.store().sessions.link(ada.user, &new, None).await;
        assert_eq!(linked, Ok(LinkOutcome::Linked));
        assert_eq!(open_as_it_is(store, &signing_in).await, OpenOutcome::PersonChanged);
        unlink().await;
    }
}

/// A refresh and a sign-in race with the end: whichever comes first, nothing works after the end.
pub async fn after_an_acknowledged_end_of_all_nothing_of_the_user_works(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let first = stored(store, &openings.new_user(identity("ada"))).await;
    for round in 0..10 {
        let now = soon() + std::time::Duration::from_secs(round);
        let current = stored(store, &openings.existing(first.user)).await;
        let mut signing_in = Vec::new();
        for _ in 0..CALLERS {
            signing_in.push(under_way(store, &openings, "ada").await);
        }
        let ids: Vec<_> = signing_in.iter().map(|opening| opening.session.id).collect();
        let opening = at_once(store, signing_in, |store, opening| async move {
            store.sessions.open(&opening.opening).await.expect("an outcome")
        });
        let refreshing =
            at_once(store, vec![rotation(&current, now)], |store, refresh| async move {
                store.rotate(&refresh).await.expect("an outcome")
            });
        let user = first.user;
        let ending = at_once(store, [()], |store, ()| async move {
            store.sessions.end_all(user, RevokeReason::Admin, now).await.expect("a number")
        });
        futures_util::future::join3(opening, refreshing, ending).await;
        for id in ids.into_iter().chain([current.id]) {
            let Some(session) = super::find_session(store, id).await else { continue };
            let outcome = rotate(store, &rotation(&session, now)).await;
            assert!(matches!(outcome, RotateOutcome::Revoked(_)), "{outcome:?}");
        }
    }
}

/// A late change finds another generation, another count of replays, or an end, and writes nothing.
pub async fn a_change_is_made_only_to_the_session_that_was_seen(store: &dyn StoreUnderTest) {
    let seen = adas_session(store).await;
    let end = SessionChange::End(SessionEnd { at: soon(), reason: RevokeReason::Reuse });
    let current = rotated(store, &rotation(&seen, soon())).await;
    let before = store.dump().await;
    for change in [end, SessionChange::CountReplay, SessionChange::Rotate(&rotation(&seen, soon()))]
    {
        assert_eq!(store.store().sessions.repo.replace(&seen, change).await, Ok(None));
    }
    assert_eq!(store.dump().await, before);

    let counted = store.store().sessions.repo.replace(&current, SessionChange::CountReplay).await;
    let counted = counted.expect("an answer").expect("the session as it was seen");
    assert_eq!(counted.previous.map(|previous| previous.replays), Some(1));
    assert_eq!(
        store.store().sessions.repo.replace(&current, end).await,
        Ok(None),
        "the count has changed"
    );
    let over = store
        .store()
        .sessions
        .repo
        .replace(&counted, end)
        .await
        .expect("an answer")
        .expect("the session");
    assert_eq!(over.end.map(|end| end.reason), Some(RevokeReason::Reuse));
    assert_eq!(
        store.store().sessions.repo.replace(&over, end).await,
        Ok(None),
        "the session has ended"
    );
}

/// Of many callers who claim one mark at once, one gets it.
pub async fn a_mark_is_claimed_once(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mark = single_use("order");
    assert_eq!(store.store().sessions.marks.is_claimed(mark.hash).await, Ok(false));
    let claims = at_once(store, [mark; CALLERS], |store, mark| async move {
        store.sessions.marks.claim(&mark).await.expect("an answer")
    });
    assert_eq!(count(&claims.await, &true), 1);
    assert_eq!(store.store().sessions.marks.is_claimed(mark.hash).await, Ok(true));
    assert_eq!(
        store.store().sessions.marks.is_claimed(single_use("another").hash).await,
        Ok(false)
    );
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let mut opening = openings.existing(ada.user);
    opening.single_use = Some(mark);
    is_refused(store, &opening, OpenOutcome::Replayed).await;
    assert!(mark.expires_at > NOW);
}
