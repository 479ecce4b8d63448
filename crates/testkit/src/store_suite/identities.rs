//! Linking identities to users.

use std::time::Duration;

use mintgate_domain::model::{
    ExternalIdentity, LinkedIdentity, NewIdentity, ProviderId, SingleUse, Timestamp, UserId,
};
use mintgate_domain::ports::{LinkOutcome, OpenOutcome};
use uuid::Uuid;

use super::sign_in::near_misses;
use super::{
    CALLERS, at_once, count, find, is_refused, known_user, open, open_at_once, soon, stored,
};
use crate::openings::{NOW, Openings, identity, single_use};
use crate::store_under_test::{StoreCalls as _, StoreUnderTest};

const SECOND: Duration = Duration::from_secs(1);

/// An identity at another provider.
pub(super) fn elsewhere(subject: &str) -> ExternalIdentity {
    let issuer = "https://elsewhere.example.com".to_owned();
    ExternalIdentity { issuer, subject: subject.to_owned() }
}

/// An identity that was proven at this moment.
pub(super) fn proven(identity: ExternalIdentity, now: Timestamp) -> NewIdentity {
    NewIdentity { identity, provider: ProviderId::new("elsewhere"), now }
}

pub(super) async fn link(
    store: &dyn StoreUnderTest,
    user: UserId,
    identity: &ExternalIdentity,
    single_use: Option<SingleUse>,
) -> LinkOutcome {
    let identity = proven(identity.clone(), soon());
    store.store().sessions.link(user, &identity, single_use).await.expect("an outcome")
}

/// Links, which must not work, and must not leave anything behind.
async fn is_not_linked(
    store: &dyn StoreUnderTest,
    user: UserId,
    identity: &ExternalIdentity,
    single_use: Option<SingleUse>,
    with: LinkOutcome,
) {
    let before = store.dump().await;
    assert_eq!(link(store, user, identity, single_use).await, with);
    assert_eq!(store.dump().await, before, "{with:?} must not write");
}

pub(super) async fn identities(store: &dyn StoreUnderTest, user: UserId) -> Vec<LinkedIdentity> {
    store.store().sessions.users.identities(user).await.expect("identities")
}

/// The identity that the user had before still finds the user too.
pub async fn a_linked_identity_finds_its_user(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    let mark = single_use("ada");
    assert_eq!(link(store, ada, &elsewhere("ada"), Some(mark)).await, LinkOutcome::Linked);
    assert_eq!(find(store, &identity("ada")).await, Some(ada));
    assert_eq!(find(store, &elsewhere("ada")).await, Some(ada));
    assert_eq!(find(store, &identity("bob")).await, Some(bob));
    assert_eq!(store.dump().await.counts(), [2, 3, 1, 2]);
    // And signs in as that user.
    let session = stored(store, &openings.existing_with(ada, elsewhere("ada"))).await;
    assert_eq!((session.user, session.identity), (ada, elsewhere("ada")));
}

/// Each is listed with its provider and its time of linking; other users' identities are not.
pub async fn identities_are_listed_the_oldest_first(store: &dyn StoreUnderTest) {
    let nobody = UserId::from_uuid(Uuid::from_u128(0xdead));
    assert_eq!(identities(store, nobody).await, []);
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    let mut expected = vec![LinkedIdentity {
        identity: identity("ada"),
        provider: ProviderId::new("corp"),
        linked_at: NOW,
    }];
    assert_eq!(identities(store, ada).await, expected);
    // In an order that neither issuers nor subjects have.
    let added = [elsewhere("m"), identity("z"), elsewhere("a"), identity("b")];
    for (n, identity) in (1..).zip(added) {
        let new = proven(identity, NOW + SECOND * n);
        let linked = store.store().sessions.link(ada, &new, None).await;
        assert_eq!(linked, Ok(LinkOutcome::Linked));
        let NewIdentity { identity, provider, now } = new;
        expected.push(LinkedIdentity { identity, provider, linked_at: now });
        assert_eq!(identities(store, ada).await, expected);
    }
    let bobs: Vec<_> = identities(store, bob).await.into_iter().map(|one| one.identity).collect();
    assert_eq!(bobs, [identity("bob")]);
}

/// The time of linking and the provider stay as they were.
pub async fn linking_what_is_the_users_own_changes_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    assert_eq!(link(store, ada, &elsewhere("ada"), None).await, LinkOutcome::Linked);
    for own in [identity("ada"), elsewhere("ada")] {
        let mut again = proven(own, soon() + SECOND);
        again.provider = ProviderId::new("renamed");
        let before = store.dump().await;
        let linked = store.store().sessions.link(ada, &again, None).await;
        assert_eq!(linked, Ok(LinkOutcome::LinkedBefore));
        assert_eq!(store.dump().await, before);
    }
}

/// The sign-in's mark is stored, so that it counts for nothing else.
pub async fn linking_what_is_the_users_own_uses_the_sign_in_up(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let mark = Some(single_use("ada"));
    let before = store.dump().await;
    assert_eq!(link(store, ada, &identity("ada"), mark).await, LinkOutcome::LinkedBefore);
    let after = store.dump().await;
    assert_eq!(after.counts(), [1, 1, 1, 1]);
    assert_eq!(after.rows("external_identities"), before.rows("external_identities"));
    is_not_linked(store, ada, &identity("ada"), mark, LinkOutcome::Replayed).await;
    let mut opening = openings.existing(ada);
    opening.single_use = mark;
    is_refused(store, &opening, OpenOutcome::Replayed).await;
}

/// This holds for an identity that was signed in with first, and for one that was linked.
pub async fn an_identity_of_another_user_is_taken(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    assert_eq!(link(store, ada, &elsewhere("ada"), None).await, LinkOutcome::Linked);
    for taken in [identity("ada"), elsewhere("ada")] {
        for mark in [None, Some(single_use("bob"))] {
            is_not_linked(store, bob, &taken, mark, LinkOutcome::Taken).await;
        }
        assert_eq!(find(store, &taken).await, Some(ada));
        let late = stored(store, &openings.new_user(taken)).await;
        assert_eq!(late.user, ada, "a first sign-in finds who has the identity by now");
    }
    // The sign-in was not used up.
    let mark = Some(single_use("bob"));
    assert_eq!(link(store, bob, &elsewhere("bob"), mark).await, LinkOutcome::Linked);
    // Disabled, the other user keeps what is theirs.
    store.disable_user(ada, soon()).await;
    is_not_linked(store, bob, &elsewhere("ada"), None, LinkOutcome::Taken).await;
}

/// An identity that only looks like another user's can be linked.
pub async fn case_30_linked_identities_are_compared_byte_for_byte(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    for (n, near) in near_misses().iter().enumerate() {
        assert_eq!(find(store, near).await, None, "{near:?} is another's");
        let owner = if n % 2 == 0 { ada } else { bob };
        assert_eq!(link(store, owner, near, None).await, LinkOutcome::Linked, "{near:?}");
        assert_eq!(find(store, near).await, Some(owner));
    }
    for (owner, first) in [(ada, 0), (bob, 1)] {
        let listed = identities(store, owner).await;
        let own: Vec<_> = near_misses().into_iter().skip(first).step_by(2).collect();
        assert_eq!(listed.len(), own.len() + 1);
        assert!(own.iter().all(|near| listed.iter().any(|linked| linked.identity == *near)));
    }
}

/// A disabled user cannot even link an identity that is linked already.
pub async fn case_32_a_disabled_user_links_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    store.disable_user(ada, NOW).await;
    for identity in [elsewhere("ada"), identity("ada")] {
        for mark in [None, Some(single_use("ada"))] {
            is_not_linked(store, ada, &identity, mark, LinkOutcome::UserDisabled).await;
        }
    }
    let mark = Some(single_use("ada"));
    assert_eq!(link(store, bob, &elsewhere("ada"), mark).await, LinkOutcome::Linked);
}

/// A user who does not exist is refused like a disabled one.
pub async fn a_user_that_is_gone_links_nothing(store: &dyn StoreUnderTest) {
    known_user(store, &Openings::default(), "ada").await;
    let nobody = UserId::from_uuid(Uuid::from_u128(0xdead));
    let mark = Some(single_use("gone"));
    is_not_linked(store, nobody, &elsewhere("gone"), mark, LinkOutcome::UserDisabled).await;
}

/// The second time is refused, also with another identity.
pub async fn case_25_a_sign_in_links_once(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    let mark = Some(single_use("ada"));
    assert_eq!(link(store, ada, &elsewhere("ada"), mark).await, LinkOutcome::Linked);
    is_not_linked(store, ada, &elsewhere("ada"), mark, LinkOutcome::Replayed).await;
    is_not_linked(store, ada, &elsewhere("another"), mark, LinkOutcome::Replayed).await;
    is_not_linked(store, bob, &elsewhere("another"), mark, LinkOutcome::Replayed).await;
    let mut opening = openings.new_user(elsewhere("another"));
    opening.single_use = mark;
    is_refused(store, &opening, OpenOutcome::Replayed).await;
    // Nor does one link that has opened a session.
    let mut opening = openings.existing(ada);
    opening.single_use = Some(single_use("session"));
    assert_eq!(open(store, &opening).await, OpenOutcome::Opened);
    let used = opening.single_use;
    is_not_linked(store, ada, &elsewhere("another"), used, LinkOutcome::Replayed).await;
}

/// The other calls learn that the sign-in has been used.
pub async fn case_25_one_sign_in_many_times_at_once_links_once(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let mark = Some(single_use("ada"));
    let racers = (0..CALLERS).map(|n| proven(elsewhere(&n.to_string()), soon()));
    let outcomes = at_once(store, racers, |store, new| async move {
        store.sessions.link(ada, &new, mark).await.expect("an outcome")
    })
    .await;
    assert_eq!(count(&outcomes, &LinkOutcome::Linked), 1, "{outcomes:?}");
    assert_eq!(count(&outcomes, &LinkOutcome::Replayed), CALLERS - 1, "{outcomes:?}");
    let winner = outcomes.iter().position(|outcome| *outcome == LinkOutcome::Linked);
    let winner = elsewhere(&winner.expect("a winner").to_string());
    assert_eq!(find(store, &winner).await, Some(ada));
    assert_eq!(store.dump().await.counts(), [1, 2, 1, 1]);
}

/// Half of the callers open a session with one sign-in, half link with it, and one call succeeds.
pub async fn case_25_a_sign_in_either_opens_a_session_or_links(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for round in 0..5 {
        let mark = Some(single_use(&format!("round {round}")));
        let [users, identities, marks, sessions] = store.dump().await.counts();
        let racers = (0..CALLERS).map(|n| {
            let mut opening = openings.existing(ada);
            opening.single_use = mark;
            let new = proven(elsewhere(&format!("{round} {n}")), soon());
            if n % 2 == 0 { Ok(opening) } else { Err(new) }
        });
        let outcomes = at_once(store, racers, |store, racer| async move {
            match racer {
                Ok(opening) => Ok(store.open_session(&opening).await.expect("an outcome")),
                Err(new) => Err(store.sessions.link(ada, &new, mark).await.expect("an outcome")),
            }
        })
        .await;
        let opened = count(&outcomes, &Ok(OpenOutcome::Opened));
        let linked = count(&outcomes, &Err(LinkOutcome::Linked));
        assert_eq!(opened + linked, 1, "{outcomes:?}");
        let refused = count(&outcomes, &Ok(OpenOutcome::Replayed))
            + count(&outcomes, &Err(LinkOutcome::Replayed));
        assert_eq!(refused, CALLERS - 1, "{outcomes:?}");
        let expected = [users, identities + linked, marks + 1, sessions + opened];
        assert_eq!(store.dump().await.counts(), expected);
    }
}

/// The others learn that it is taken, and their sign-ins are not used up.
pub async fn many_users_who_link_one_identity_at_once_one_gets_it(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mut users = vec![];
    for n in 0..CALLERS {
        users.push(known_user(store, &openings, &n.to_string()).await);
    }
    let racers = users.iter().enumerate();
    let racers = racers.map(|(n, user)| (*user, single_use(&n.to_string())));
    let outcomes = at_once(store, racers, |store, (user, mark)| async move {
        let new = proven(elsewhere("wanted"), soon());
        store.sessions.link(user, &new, Some(mark)).await.expect("an outcome")
    })
    .await;
    assert_eq!(count(&outcomes, &LinkOutcome::Linked), 1, "{outcomes:?}");
    assert_eq!(count(&outcomes, &LinkOutcome::Taken), CALLERS - 1, "{outcomes:?}");
    let winner = outcomes.iter().position(|outcome| *outcome == LinkOutcome::Linked);
    let winner = users[winner.expect("a winner")];
    assert_eq!(find(store, &elsewhere("wanted")).await, Some(winner));
    assert_eq!(store.dump().await.counts(), [CALLERS, CALLERS + 1, 1, CALLERS]);
}

/// One call links the identity, the others find it linked.
pub async fn one_user_links_one_identity_many_times_at_once(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let outcomes = at_once(store, 0..CALLERS, |store, n| async move {
        let new = proven(elsewhere("ada"), soon());
        let mark = Some(single_use(&n.to_string()));
        store.sessions.link(ada, &new, mark).await.expect("an outcome")
    })
    .await;
    assert_eq!(count(&outcomes, &LinkOutcome::Linked), 1, "{outcomes:?}");
    assert_eq!(count(&outcomes, &LinkOutcome::LinkedBefore), CALLERS - 1, "{outcomes:?}");
    assert_eq!(store.dump().await.counts(), [1, 2, CALLERS, 1]);
}

/// The identity belongs either to a new user or to the one who links it.
pub async fn linking_and_first_sign_ins_at_once_leave_one_owner(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for round in 0..5 {
        let wanted = elsewhere(&format!("round {round}"));
        let [users, identities, _, sessions] = store.dump().await.counts();
        let newcomers: Vec<_> =
            (0..CALLERS / 2).map(|_| openings.new_user(wanted.clone())).collect();
        let new = proven(wanted.clone(), soon());
        let linking = at_once(store, vec![new; CALLERS / 2], |store, new| async move {
            store.sessions.link(ada, &new, None).await.expect("an outcome")
        });
        let (linked, opened) =
            futures_util::future::join(linking, open_at_once(store, newcomers.clone())).await;
        assert_eq!(count(&opened, &OpenOutcome::Opened), CALLERS / 2, "{opened:?}");
        let owner = find(store, &wanted).await.expect("an owner");
        if owner == ada {
            assert_eq!(count(&linked, &LinkOutcome::Linked), 1, "{linked:?}");
        } else {
            assert_eq!(count(&linked, &LinkOutcome::Taken), CALLERS / 2, "{linked:?}");
            assert!(newcomers.iter().any(|newcomer| newcomer.user_id() == owner));
        }
        for newcomer in newcomers {
            let session = super::find_session(store, newcomer.session.id).await;
            assert_eq!(session.expect("a session").user, owner);
        }
        let new_users = usize::from(owner != ada);
        let expected = [users + new_users, identities + 1, 0, sessions + CALLERS / 2];
        assert_eq!(store.dump().await.counts(), expected);
    }
}
