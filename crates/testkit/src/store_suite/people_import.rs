//! People who come from another system.

use std::time::Duration;

use mintgate_domain::model::{
    Ban, FormerId, ImportRecord, ImportedUser, Profile, ProviderId, Role, SearchText, UserId,
};
use mintgate_domain::ports::{
    ImportOutcome, ImportQuestion, ImportedChange, StoredPeople, UserChange,
};
use uuid::Uuid;

use super::{CALLERS, at_once, known_user};
use crate::openings::{NOW, Openings, identity};
use crate::store_under_test::StoreUnderTest;

const DAY: Duration = Duration::from_hours(24);

fn id(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(n))
}

/// Somebody with an identity, who came a day ago.
fn imported(n: u128, name: &str) -> ImportedUser {
    ImportedUser {
        id: id(n),
        former_ids: vec![format!("old-{name}")],
        identities: vec![(identity(name), ProviderId::new("corp"))],
        roles: vec![],
        profile: Profile::default(),
        ban: None,
        created_at: NOW - DAY,
    }
}

async fn create(store: &dyn StoreUnderTest, users: &[ImportedUser]) -> ImportOutcome {
    store.store().import.create("old", users, NOW).await.expect("an outcome")
}

async fn change(store: &dyn StoreUnderTest, change: &ImportedChange) -> ImportOutcome {
    store.store().import.change("old", change).await.expect("an outcome")
}

async fn stored(store: &dyn StoreUnderTest, users: &[ImportedUser]) -> StoredPeople {
    let identities = users.iter().flat_map(|user| &user.identities);
    let question = ImportQuestion {
        source: "old".to_owned(),
        former_ids: users.iter().flat_map(|user| user.former_ids.clone()).collect(),
        identities: identities.map(|(identity, _)| identity.clone()).collect(),
        ids: users.iter().map(|user| user.id).collect(),
    };
    store.store().import.stored(&question).await.expect("what is stored")
}

fn former(source: &str, id: &str) -> FormerId {
    FormerId { source: source.to_owned(), id: id.to_owned() }
}

async fn owner(store: &dyn StoreUnderTest, source: &str, id: &str) -> Option<UserId> {
    store.store().import.find_former(&former(source, id)).await.expect("an answer")
}

async fn disabled(store: &dyn StoreUnderTest, user: UserId) -> bool {
    let account = store.store().users.account(user).await.expect("an answer").expect("a user");
    account.user.disabled_at.is_some()
}

/// With everything that can be imported, and with the least.
pub async fn imported_people_are_created_whole_and_found(store: &dyn StoreUnderTest) {
    let ada = ImportedUser {
        former_ids: vec!["old-ada".to_owned(), "older".to_owned()],
        identities: ["ada", "ada l"].map(|name| (identity(name), ProviderId::new("corp"))).into(),
        roles: vec![Role::new("admin"), Role::new("staff")],
        profile: Profile { name: Some("Ada L.".to_owned()), ..Profile::default() },
        ban: Some(Ban::ForEver),
        ..imported(1, "ada")
    };
    let bob = ImportedUser { identities: vec![], ..imported(2, "bob") };
    let people = [ada.clone(), bob.clone()];
    assert_eq!(stored(store, &people).await, StoredPeople::default());
    assert_eq!(create(store, &people).await, ImportOutcome::Stored);

    let account = store.store().users.account(ada.id).await.expect("an answer").expect("a user");
    assert_eq!(account.user.disabled_at, Some(NOW));
    assert_eq!((&account.user.granted_roles, &account.user.profile), (&ada.roles, &ada.profile));
    assert_eq!((account.created_at, account.identities.len()), (ada.created_at, 2));
    assert_eq!(account.identities[0].linked_at, NOW);
    assert_eq!(account.former_ids, [former("old", "old-ada"), former("old", "older")]);
    let person = store.store().sessions.users.find_user(&identity("ada l")).await;
    assert_eq!(person.expect("an answer").expect("a person").user.id, ada.id);
    assert_eq!(owner(store, "old", "older").await, Some(ada.id));
    assert_eq!(owner(store, "older", "old").await, None);
    let ids = store.store().import.former_ids(bob.id).await.expect("ids");
    assert_eq!(ids, [former("old", "old-bob")]);
    assert!(!disabled(store, bob.id).await);

    let mut found = stored(store, &people).await;
    found.former_ids.sort();
    let text = |user: &ImportedUser| Some(ImportRecord::from(user).to_text());
    let expected =
        [("old-ada", &ada, text(&ada)), ("old-bob", &bob, text(&bob)), ("older", &ada, None)];
    let expected = expected.map(|(id, user, record)| (id.to_owned(), user.id, record));
    assert_eq!(found.former_ids, expected);
    assert_eq!((found.identities.len(), found.imported[0], found.ids.len()), (2, ada.id, 2));
    for (text, expected) in
        [("OLD-", vec![ada.id, bob.id]), ("older", vec![ada.id]), ("elder", vec![])]
    {
        let search = SearchText::part(text).expect("a text");
        let found = store.store().users.find_accounts(Some(&search), None, 10).await;
        let found: Vec<_> = found.expect("people").iter().map(|it| it.user.id).collect();
        assert_eq!(found, expected, "{text}");
    }
}

/// Whichever of the three belongs to somebody.
pub async fn a_batch_of_imported_people_is_stored_whole_or_not_at_all(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let known = known_user(store, &openings, "ada").await;
    assert_eq!(create(store, &[imported(1, "cid")]).await, ImportOutcome::Stored);
    let same_id = ImportedUser { id: known, ..imported(3, "dan") };
    let same_former = ImportedUser { former_ids: vec!["old-cid".to_owned()], ..imported(4, "eve") };
    for other in [imported(5, "ada"), same_id, same_former] {
        let before = store.dump().await;
        let outcome = create(store, &[imported(2, "bob"), other]).await;
        assert_eq!(outcome, ImportOutcome::Overtaken);
        assert_eq!(store.dump().await, before);
    }
    assert_eq!(stored(store, &[imported(9, "ada")]).await.imported, []);
}

/// One stores it; for all others it is stored then.
pub async fn a_batch_imported_many_times_at_once_is_stored_once(store: &dyn StoreUnderTest) {
    let people: Vec<_> = (1..20).map(|n| imported(n, &n.to_string())).collect();
    let batches = vec![people; CALLERS];
    let outcomes = at_once(store, batches, |store, people| async move {
        store.import.create("old", &people, NOW).await.expect("an outcome")
    })
    .await;
    let stored = outcomes.iter().filter(|outcome| **outcome == ImportOutcome::Stored).count();
    assert_eq!(stored, 1);
    assert_eq!(store.dump().await.counts()[..2], [19, 19]);
}

/// Also one who is disabled; identities that are linked already and ids that are known do no harm.
pub async fn an_import_changes_a_user_who_is_there(store: &dyn StoreUnderTest) {
    let ada = ImportedUser { ban: Some(Ban::ForEver), ..imported(1, "ada") };
    assert_eq!(create(store, std::slice::from_ref(&ada)).await, ImportOutcome::Stored);
    let record = ImportRecord {
        former_ids: vec!["new".to_owned(), "old-ada".to_owned()],
        roles: vec![Role::new("staff")],
        ..ImportRecord::default()
    };
    let link = ["ada", "ada l"].map(|name| (identity(name), ProviderId::new("corp"))).into();
    let wanted = ImportedChange { user: ada.id, link, now: NOW, record: record.clone() };
    for _ in 0..2 {
        assert_eq!(change(store, &wanted).await, ImportOutcome::Stored);
        let account =
            store.store().users.account(ada.id).await.expect("an answer").expect("a user");
        assert_eq!(account.former_ids, [former("old", "new"), former("old", "old-ada")]);
        assert_eq!(account.identities.len(), 2);
        assert_eq!(account.user.granted_roles, [], "roles are an operator's change");
    }
    let question = ImportedUser { former_ids: record.former_ids.clone(), ..ada.clone() };
    let found = stored(store, &[question]).await.former_ids;
    let kept: Vec<_> =
        found.iter().filter_map(|(id, _, record)| Some((id, record.as_ref()?))).collect();
    assert_eq!(kept, [(&"new".to_owned(), &record.to_text())]);
}

/// Or if the user is gone.
pub async fn an_import_changes_nobody_if_something_belongs_to_somebody_else(
    store: &dyn StoreUnderTest,
) {
    let (ada, bob) = (imported(1, "ada"), imported(2, "bob"));
    assert_eq!(create(store, &[ada.clone(), bob.clone()]).await, ImportOutcome::Stored);
    let wanted = |user, link: &str, id: &str| ImportedChange {
        user,
        link: vec![(identity(link), ProviderId::new("corp"))],
        now: NOW,
        record: ImportRecord { former_ids: vec![id.to_owned()], ..ImportRecord::default() },
    };
    let before = store.dump().await;
    for refused in [
        wanted(ada.id, "bob", "old-ada"),
        wanted(ada.id, "new", "old-bob"),
        wanted(id(7), "new", "new"),
    ] {
        assert_eq!(change(store, &refused).await, ImportOutcome::Overtaken);
        assert_eq!(store.dump().await, before);
    }
}

/// What an operator disables stays disabled, and what an operator enables is enabled once.
pub async fn a_ban_ends_in_time_unless_an_operator_has_decided_otherwise(
    store: &dyn StoreUnderTest,
) {
    let until = NOW + DAY;
    let banned = |n, ban| ImportedUser { ban: Some(ban), ..imported(n, &n.to_string()) };
    let people = [
        banned(1, Ban::Until(until)),
        banned(2, Ban::ForEver),
        banned(3, Ban::Until(until)),
        banned(4, Ban::Until(NOW)),
        imported(5, "5"),
    ];
    assert_eq!(create(store, &people).await, ImportOutcome::Stored);
    let is_disabled = async |n| disabled(store, id(n)).await;
    assert!(is_disabled(1).await && is_disabled(2).await && is_disabled(3).await);
    assert!(!is_disabled(4).await && !is_disabled(5).await);
    let stores = store.store();
    assert_eq!(stores.users.disable_user(id(3), NOW).await, Ok((UserChange::AsBefore, 0)));
    stores.import.set_ban(id(5), Ban::Until(until)).await.expect("nothing");
    assert!(!is_disabled(5).await, "who is not disabled is not banned");
    let end = async |at| stores.import.end_bans(at, 10).await.expect("a number");
    assert_eq!(end(until - Duration::from_secs(1)).await, 0);
    assert!(is_disabled(1).await);
    assert_eq!(end(until).await, 1);
    assert!(!is_disabled(1).await && is_disabled(2).await && is_disabled(3).await);
    assert_eq!(end(until).await, 0);

    stores.import.set_ban(id(2), Ban::Until(until)).await.expect("a ban");
    assert_eq!(stores.users.enable_user(id(2)).await, Ok(UserChange::Changed));
    assert_eq!(stores.users.disable_user(id(2), NOW).await, Ok((UserChange::Changed, 0)));
    assert_eq!(end(until).await, 0, "the ban before is over");
    stores.import.set_ban(id(2), Ban::Until(until)).await.expect("a ban");
    stores.import.set_ban(id(2), Ban::ForEver).await.expect("a ban");
    assert_eq!(end(until).await, 0);
    assert!(is_disabled(2).await);
}

/// By the first id of each, in the order of its bytes.
pub async fn imported_people_are_listed_page_by_page(store: &dyn StoreUnderTest) {
    let mut people: Vec<_> = (1..6).map(|n| imported(n, &n.to_string())).collect();
    people[1].former_ids.push("also".to_owned());
    assert_eq!(create(store, &people).await, ImportOutcome::Stored);
    let import = store.store().import;
    let stranger = imported(9, "stranger");
    assert_eq!(import.create("elsewhere", &[stranger], NOW).await, Ok(ImportOutcome::Stored));
    let (mut listed, mut after) = (vec![], String::new());
    loop {
        let page = import.imported("old", &after, 2).await.expect("a page");
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        listed.extend(page);
    }
    let expected: Vec<_> = (1..6).map(|n| (format!("old-{n}"), id(n))).collect();
    assert_eq!(listed, expected);
}

/// Neither case nor a trailing space is lost.
pub async fn former_ids_are_compared_byte_for_byte_and_go_with_their_user(
    store: &dyn StoreUnderTest,
) {
    let texts = ["Ada", "ada", "ada ", "äda", "' OR 1=1 --", "\\", "%"];
    let named = |(n, text): (u128, &str)| ImportedUser {
        former_ids: vec![text.to_owned()],
        ..imported(n, &n.to_string())
    };
    let people: Vec<_> = (1..).zip(texts).map(named).collect();
    assert_eq!(create(store, &people).await, ImportOutcome::Stored);
    for (n, text) in (1..).zip(texts) {
        assert_eq!(owner(store, "old", text).await, Some(id(n)), "{text}");
    }
    assert_eq!(owner(store, "old", "ADA").await, None);
    store.store().delete_user(id(1), NOW, NOW + DAY).await.expect("a deletion");
    assert_eq!(owner(store, "old", "Ada").await, None);
    assert_eq!(store.dump().await.rows("former_ids").len(), texts.len() - 1);
}
