//! Finding people, page by page.

use std::time::Duration;

use mintgate_domain::model::{Profile, SearchText, UserId};

use super::{known_user, stored};
use crate::openings::{NOW, Openings, identity};
use crate::store_under_test::StoreUnderTest;

async fn page(
    store: &dyn StoreUnderTest,
    search: Option<&str>,
    after: Option<UserId>,
    limit: u32,
) -> Vec<UserId> {
    let search = search.map(|text| SearchText::part(text).expect("a text"));
    let found = store.store().users.find_accounts(search.as_ref(), after, limit).await;
    found.expect("people").into_iter().map(|account| account.user.id).collect()
}

/// Each page begins behind the last one of the page before, whoever is deleted or comes meanwhile.
pub async fn people_are_listed_page_by_page_while_others_come_and_go(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    assert_eq!(page(store, None, None, 10).await, []);
    let mut users = vec![];
    for n in 0..7 {
        users.push(known_user(store, &openings, &format!("person {n}")).await);
    }
    assert_eq!(page(store, None, None, 100).await, users);
    let first = page(store, None, None, 3).await;
    assert_eq!(first, users[..3]);
    for gone in [users[0], users[2], users[3]] {
        store
            .store()
            .delete_user(gone, NOW, NOW + Duration::from_hours(1))
            .await
            .expect("a deletion");
    }
    let come = known_user(store, &openings, "late").await;
    let second = page(store, None, first.last().copied(), 3).await;
    assert_eq!(second, users[4..]);
    assert_eq!(page(store, None, second.last().copied(), 3).await, [come]);
    assert_eq!(page(store, None, Some(come), 3).await, []);
}

pub(super) fn profile(name: &str, username: &str, email: &str) -> Profile {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (name, preferred_username, email) = (text(name), text(username), text(email));
    Profile { name, preferred_username, email, picture: None }
}

pub(super) async fn person(
    store: &dyn StoreUnderTest,
    openings: &Openings,
    subject: &str,
    profile: Profile,
) -> UserId {
    let mut opening = openings.new_user(identity(subject));
    opening.profile = Some(profile);
    stored(store, &opening).await.user
}

/// Wherever the part stands, whatever its case and Unicode form; no character means another.
pub async fn people_are_found_by_any_part_of_a_name_an_address_or_a_subject(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let ada = profile("Ada Lovelace", "ada_l", "ada@acme.com");
    let ada = person(store, &openings, "Auth0|7f", ada).await;
    let joern = profile("Jo\u{308}rn 100% *", "", "a\\b@acme.com.example");
    let joern = person(store, &openings, "s-2", joern).await;
    let none = person(store, &openings, "100 \u{c4}", Profile::default()).await;
    for (part, expected) in [
        ("@acme.com", &[ada, joern][..]),
        ("ACME", &[ada, joern]),
        ("love", &[ada]),
        ("a_l", &[ada]),
        ("a\\b@", &[joern]),
        ("100%", &[joern]),
        ("JÖRN", &[joern]),
        ("jo\u{308}R", &[joern]),
        ("*", &[joern]),
        ("%", &[joern]),
        ("\\", &[joern]),
        ("_", &[ada]),
        ("a%l", &[]),
        ("' OR 1=1 --", &[]),
        ("100", &[joern, none]),
        ("auth0|7F", &[ada]),
        ("s-2", &[joern]),
        ("lovelace ada", &[]),
    ] {
        assert_eq!(page(store, Some(part), None, 10).await, expected, "{part}");
    }
    assert_eq!(page(store, Some("acme"), None, 1).await, [ada]);
    assert_eq!(page(store, Some("acme"), Some(ada), 1).await, [joern]);
    assert_eq!(page(store, Some("acme"), Some(joern), 1).await, []);
    for (whole, expected) in [
        ("ADA@acme.com", &[ada][..]),
        ("ada lovelace", &[ada]),
        ("acme.com", &[]),
        ("AUTH0|7f", &[ada]),
    ] {
        let search = SearchText::whole(whole).expect("a text");
        let found =
            store.store().users.find_accounts(Some(&search), None, 10).await.expect("people");
        let found: Vec<_> = found.iter().map(|account| account.user.id).collect();
        assert_eq!(found, expected, "{whole}");
    }
}

/// A name that somebody had before finds nobody.
pub async fn what_is_searched_is_what_the_last_sign_in_said(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = person(store, &openings, "ada", profile("Byron", "", "")).await;
    for (said, found) in [("Lovelace", "love"), ("King", "KING")] {
        let mut opening = openings.existing(ada);
        opening.profile = Some(profile(said, "", ""));
        stored(store, &opening).await;
        assert_eq!(page(store, Some(found), None, 10).await, [ada]);
        assert_eq!(page(store, Some("byron"), None, 10).await, []);
    }
    stored(store, &openings.existing(ada)).await;
    assert_eq!(page(store, Some("king"), None, 10).await, [ada], "nothing new was said");
    let mut opening = openings.existing(ada);
    opening.profile = Some(Profile::default());
    stored(store, &opening).await;
    assert_eq!(page(store, Some("king"), None, 10).await, []);
}
