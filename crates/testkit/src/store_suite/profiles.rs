//! What is kept of a person.

use mintgate_domain::model::{Person, Profile, SearchText, UserId};
use mintgate_domain::ports::OpenOutcome;

use super::{CALLERS, at_once, count, stored};
use crate::openings::{Openings, identity, single_use};
use crate::store_under_test::{StoreCalls as _, StoreUnderTest};

fn ada(name: &str) -> Profile {
    Profile {
        name: Some(name.to_owned()),
        preferred_username: Some("ada".to_owned()),
        email: Some("ada@example.com".to_owned()),
        picture: Some(format!("https://pics.example.com/{}", "x".repeat(2000))),
    }
}

async fn kept(store: &dyn StoreUnderTest, user: UserId) -> Profile {
    let person: Option<Person> =
        store.store().sessions.users.find_user(&identity("ada")).await.expect("an answer");
    let user_of = store
        .store()
        .sessions
        .users
        .find_person(user, &identity("nobody"))
        .await
        .expect("an answer");
    let person = person.expect("a person");
    assert_eq!(Some(&person.user), user_of.map(|person| person.user).as_ref());
    person.user.profile
}

/// As the last sign-in says it: something else, nothing, and nothing new.
pub async fn a_profile_is_kept_with_the_session_that_brings_it(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = openings.new_user(identity("ada"));
    let user = first.user_id();
    stored(store, &first).await;
    assert_eq!(kept(store, user).await, Profile::default(), "nothing is kept that nobody brings");
    for profile in [ada("Ada"), ada("Ada L. \u{e9}"), Profile::default(), ada("Ada")] {
        let mut opening = openings.existing(user);
        opening.profile = Some(profile.clone());
        let session = stored(store, &opening).await;
        assert_eq!(kept(store, user).await, profile);
        let loaded = store
            .store()
            .sessions
            .repo
            .load(session.id)
            .await
            .expect("an answer")
            .expect("a session");
        match loaded.owner {
            mintgate_domain::ports::SessionOwner::Loaded(person) => {
                assert_eq!(person.expect("a person").user.profile, profile);
            }
            mintgate_domain::ports::SessionOwner::KeptElsewhere => {}
        }
    }
    stored(store, &openings.existing(user)).await;
    assert_eq!(kept(store, user).await, ada("Ada"), "a sign-in without news changes nothing");
}

/// What is searched changes with it, and nobody else does.
pub async fn a_profile_that_comes_without_its_session_is_kept(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let user = stored(store, &openings.new_user(identity("ada"))).await.user;
    let bob = stored(store, &openings.new_user(identity("bob"))).await.user;
    let stores = store.store();
    let found = async |text: &str| {
        let search = SearchText::part(text).expect("a text");
        let found = stores.users.find_accounts(Some(&search), None, 10).await.expect("people");
        found.into_iter().map(|account| account.user.id).collect::<Vec<_>>()
    };
    for profile in [ada("Byron"), ada("L\u{f6}velace"), Profile::default(), ada("King")] {
        stores.sessions.users.keep_profile(user, &profile).await.expect("kept");
        assert_eq!(kept(store, user).await, profile);
        assert_eq!(found("L\u{d6}VE").await.len(), usize::from(profile == ada("L\u{f6}velace")));
    }
    assert_eq!(found("king").await, [user]);
    assert_eq!(found("byron").await, []);
    let others = stores.users.account(bob).await.expect("an answer").expect("a person");
    assert_eq!(others.user.profile, Profile::default());
    let before = store.dump().await;
    let nobody = openings.new_user(identity("carol")).user_id();
    stores.sessions.users.keep_profile(nobody, &ada("Carol")).await.expect("no error");
    assert_eq!(store.dump().await, before);
}

/// A sign-in that is not accepted says nothing about the person.
pub async fn a_refused_opening_leaves_the_profile_as_it_was(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mut first = openings.new_user(identity("ada"));
    first.single_use = Some(single_use("mark"));
    stored(store, &first).await;
    let mut replayed = openings.existing(first.user_id());
    replayed.single_use = Some(single_use("mark"));
    replayed.profile = Some(ada("Ada"));
    assert_eq!(store.store().sessions.open(&replayed).await, Ok(OpenOutcome::Replayed));
    assert_eq!(kept(store, first.user_id()).await, Profile::default());
}

/// Two sign-ins of one person do not wait for one another.
pub async fn many_sign_ins_of_one_person_at_once_all_bring_news(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = openings.new_user(identity("ada"));
    stored(store, &first).await;
    let user = first.user_id();
    let opening = |n: usize| {
        let mut opening = openings.existing(user);
        opening.profile = (!n.is_multiple_of(4)).then(|| ada(&n.to_string()));
        opening
    };
    let all: Vec<_> = (0..CALLERS).map(opening).collect();
    let outcomes = at_once(store, all, |store, opening| async move {
        store.open_session(&opening).await.expect("an outcome")
    })
    .await;
    assert_eq!(count(&outcomes, &OpenOutcome::Opened), CALLERS, "{outcomes:?}");
    assert!(kept(store, user).await.name.is_some());
}
