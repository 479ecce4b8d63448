//! The audit log.

use std::time::Duration;

use mintgate_domain::SecretText;
use mintgate_domain::model::{
    Actor, AuditEntry, AuditEvent, AuditExtent, AuditHead, AuditKey, AuditKeys, AuditKind,
    AuditQuery, ChainReader, ExternalIdentity, ProviderId, SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::{Duty, Erasure};
use uuid::Uuid;

use super::{RACERS, at_once, count, known_user};
use crate::openings::{NOW, Openings, identity};
use crate::store_under_test::StoreUnderTest;

const MINUTE: Duration = Duration::from_mins(1);

fn keys() -> AuditKeys {
    AuditKeys { current: AuditKey::derived(&SecretText::new("of the tests")), former: vec![] }
}

fn event(user: Option<UserId>, at: Timestamp) -> AuditEvent {
    AuditEvent { user, ..AuditEvent::new(AuditKind::Login, at, Actor::User) }
}

fn denied(identity: &ExternalIdentity) -> AuditEvent {
    AuditEvent::new(AuditKind::LoginDenied, NOW, Actor::User).of_identity(identity)
}

/// Every field has a value.
fn full(user: UserId) -> AuditEvent {
    let session = SessionId::from_uuid(Uuid::from_u128(77));
    let actor = Actor::Provider(ProviderId::new("corp"));
    let mut event = AuditEvent::new(AuditKind::ProviderLogout, NOW, actor)
        .of_user(user)
        .of_session(session)
        .of_identity(&identity("ada"))
        .with("quoted", "a \"b\" \\ ü \u{1F600}")
        .with("empty", "");
    event.request_id = Some("request-1".to_owned());
    event.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
    event.personal.network = Some("192.0.2.0/24".to_owned());
    event.personal.user_agent = Some("Ä browser".to_owned());
    event
}

/// Puts events behind a head.
fn sealed(head: &AuditHead, events: Vec<AuditEvent>) -> (Vec<AuditEntry>, AuditHead) {
    let (mut entries, mut head) = (vec![], *head);
    for event in events {
        let (entry, next) = keys().seal(&head, event, entries.len() % 2 == 1, [7; 16]);
        entries.push(entry);
        head = next;
    }
    (entries, head)
}

async fn head(store: &dyn StoreUnderTest) -> AuditHead {
    store.store().audit.audit_head().await.expect("a head")
}

async fn add(store: &dyn StoreUnderTest, events: Vec<AuditEvent>) -> Vec<AuditEntry> {
    let after = head(store).await;
    let (entries, next) = sealed(&after, events);
    assert_eq!(store.store().audit.append_audit(&after, &entries, &next, None).await, Ok(true));
    entries
}

async fn found(store: &dyn StoreUnderTest, query: &AuditQuery) -> Vec<AuditEntry> {
    store.store().audit.audit_entries(query, 0, 1000).await.expect("entries")
}

/// The chain is as it was written.
async fn require_clean(store: &dyn StoreUnderTest) {
    let (keys, head) = (keys(), head(store).await);
    let mut reader = ChainReader::begin(&keys, head, &[], None).expect("a head");
    for entry in found(store, &AuditQuery::All).await {
        reader.read(&entry).expect("an entry");
    }
    assert_eq!(reader.end(), Ok(()));
}

/// There is a head all the same.
pub async fn an_audit_log_begins_empty(store: &dyn StoreUnderTest) {
    assert_eq!(head(store).await, AuditHead::default());
    assert_eq!(found(store, &AuditQuery::All).await, []);
    assert_eq!(store.store().audit.audit_extent().await, Ok(AuditExtent::default()));
    assert_eq!(store.store().audit.last_old_audit_entry(NOW, 10).await, Ok(None));
    assert_eq!(store.store().audit.prune_audit(10, 10).await, Ok(0));
    assert_eq!(store.store().duties.duty_ended_at(Duty::AuditPruning).await, Ok(None));
    require_clean(store).await;
}

/// With values everywhere, and with none.
pub async fn every_column_of_an_audit_entry_survives(store: &dyn StoreUnderTest) {
    let ada = known_user(store, &Openings::default(), "ada").await;
    let mut kinds = vec![full(ada), event(None, NOW)];
    // One that says that old entries are deleted has to name the last of them.
    let all = AuditKind::ALL.iter().filter(|kind| **kind != AuditKind::EntriesPruned);
    kinds.extend(all.map(|kind| AuditEvent { kind: *kind, ..full(ada) }));
    let entries = add(store, kinds).await;
    assert_eq!(found(store, &AuditQuery::All).await, entries);
    require_clean(store).await;
}

/// A writer that has lost the answer finds out by the head.
pub async fn an_append_counts_once(store: &dyn StoreUnderTest) {
    let after = head(store).await;
    let (entries, next) = sealed(&after, vec![event(None, NOW), event(None, NOW)]);
    for expected in [true, false, false] {
        let appended = store.store().audit.append_audit(&after, &entries, &next, None).await;
        assert_eq!(appended, Ok(expected));
        assert_eq!(head(store).await, next);
        assert_eq!(found(store, &AuditQuery::All).await, entries);
    }
    let forged = AuditHead { mac: [9; 32], ..next };
    let (others, behind) = sealed(&forged, vec![event(None, NOW)]);
    assert_eq!(store.store().audit.append_audit(&forged, &others, &behind, None).await, Ok(false));
    require_clean(store).await;
}

/// Each begins again behind whoever was faster; nothing is lost, and nothing forks.
pub async fn many_writers_at_once_make_one_chain(store: &dyn StoreUnderTest) {
    const EACH: u64 = 10;
    at_once(store, 0..RACERS, |store, _| async move {
        for _ in 0..EACH {
            loop {
                let after = store.audit.audit_head().await.expect("a head");
                let (entries, next) = sealed(&after, vec![event(None, NOW - MINUTE * 2); 3]);
                if store
                    .audit
                    .append_audit(&after, &entries, &next, None)
                    .await
                    .expect("an outcome")
                {
                    break;
                }
            }
        }
    })
    .await;
    let all = 3 * EACH * RACERS as u64;
    assert_eq!(head(store).await.sequence, all);
    let extent = store.store().audit.audit_extent().await.expect("an extent");
    assert_eq!(extent, AuditExtent { oldest: Some((1, NOW - MINUTE * 2)), last: all });
    require_clean(store).await;
}

/// By pages, in order.
pub async fn audit_entries_are_found_by_what_they_are_about(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    let session = SessionId::from_uuid(Uuid::from_u128(5));
    let of_request = |id: &str| {
        let mut event = event(Some(bob), NOW);
        event.request_id = Some(id.to_owned());
        event
    };
    let events = vec![
        event(Some(ada), NOW),
        event(Some(bob), NOW).of_session(session),
        denied(&identity("ada")),
        of_request("request-1"),
        event(Some(ada), NOW).of_identity(&identity("ada")),
        of_request("request-12"),
        of_request("request-1"),
        denied(&identity("ADA")),
    ];
    let entries = add(store, events).await;
    let numbers = async |query: AuditQuery| -> Vec<u64> {
        found(store, &query).await.iter().map(|entry| entry.sequence).collect()
    };
    assert_eq!(numbers(AuditQuery::OfUser(ada)).await, [1, 5]);
    assert_eq!(numbers(AuditQuery::OfUser(bob)).await, [2, 4, 6, 7]);
    assert_eq!(numbers(AuditQuery::OfSession(session)).await, [2]);
    assert_eq!(numbers(AuditQuery::OfRequest("request-1".to_owned())).await, [4, 7]);
    assert!(numbers(AuditQuery::OfRequest("request-%".to_owned())).await.is_empty());
    assert_eq!(numbers(AuditQuery::OfIdentity(identity("ada"))).await, [3]);
    let page = async |query: &AuditQuery, after, limit| {
        store.store().audit.audit_entries(query, after, limit).await.expect("entries")
    };
    assert_eq!(page(&AuditQuery::All, 2, 3).await, entries[2..5]);
    assert_eq!(
        page(&AuditQuery::OfUser(bob), 2, 2).await,
        [entries[3].clone(), entries[5].clone()]
    );
    assert_eq!(page(&AuditQuery::All, 8, 3).await, []);
}

/// Nobody else's entry changes, nor a later one of the same identity about no user.
pub async fn an_erased_person_leaves_nothing_but_what_is_proven(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    let ours = vec![full(ada), denied(&identity("ada")), full(ada)];
    let others =
        vec![full(bob), denied(&identity("bob")), event(None, NOW), denied(&identity("ada"))];
    let mut expected = add(store, ours.into_iter().chain(others).collect()).await;
    store.store().delete_user(ada, NOW, NOW + MINUTE).await.expect("a deletion");

    let after = head(store).await;
    let deletion = AuditEvent::new(AuditKind::UserDeleted, NOW, Actor::Service).of_user(ada);
    let (entries, next) = sealed(&after, vec![deletion.erasing_without_user(1)]);
    let erasure = Erasure { user: ada, identities: vec![identity("ada")], through: 6 };
    let append =
        async || store.store().audit.append_audit(&after, &entries, &next, Some(&erasure)).await;
    assert_eq!(append().await, Ok(true));
    assert_eq!(append().await, Ok(false));
    expected.extend(entries);
    expected[..3].iter_mut().for_each(AuditEntry::erase);
    assert_eq!(found(store, &AuditQuery::All).await, expected);
    require_clean(store).await;
}

/// What waits while somebody is deleted brings nothing of them back.
pub async fn an_entry_about_a_user_who_is_gone_is_stored_erased(store: &dyn StoreUnderTest) {
    let ada = known_user(store, &Openings::default(), "ada").await;
    let gone = UserId::from_uuid(Uuid::from_u128(9));
    let deletion = AuditEvent::new(AuditKind::UserDeleted, NOW, Actor::Service).of_user(gone);
    let mut expected = add(store, vec![full(gone), full(ada), deletion]).await;
    expected[0].erase();
    assert_eq!(found(store, &AuditQuery::All).await, expected);
    require_clean(store).await;
}

/// Also where the clock was set back in between.
pub async fn old_audit_entries_end_where_the_first_young_one_is(store: &dyn StoreUnderTest) {
    let at = |minutes: u32| NOW + MINUTE * minutes;
    let times = [0, 1, 5, 2, 3, 9];
    let entries = add(store, times.map(|minutes| event(None, at(minutes))).into()).await;
    let last = async |before, limit| {
        let entry =
            store.store().audit.last_old_audit_entry(before, limit).await.expect("an answer");
        entry.map(|entry| entry.sequence)
    };
    assert_eq!(last(at(0), 100).await, None);
    assert_eq!(last(at(1), 100).await, Some(1));
    assert_eq!(last(at(4), 100).await, Some(2));
    assert_eq!(last(at(6), 100).await, Some(5));
    assert_eq!(last(at(99), 100).await, Some(6));
    assert_eq!(last(at(99), 3).await, Some(3));
    let found = store.store().audit.last_old_audit_entry(at(4), 100).await;
    assert_eq!(found, Ok(Some(entries[1].clone())));
}

/// The head stays, and what it says of the last entry.
pub async fn old_audit_entries_are_deleted_from_the_beginning_so_many_at_once(
    store: &dyn StoreUnderTest,
) {
    let entries = add(store, vec![event(None, NOW); 7]).await;
    for (gone, left) in [(2, 5), (2, 3), (1, 2), (0, 2)] {
        assert_eq!(store.store().audit.prune_audit(5, 2).await, Ok(gone));
        assert_eq!(found(store, &AuditQuery::All).await, entries[7 - left..]);
    }
    let extent = store.store().audit.audit_extent().await.expect("an extent");
    assert_eq!(extent, AuditExtent { oldest: Some((6, NOW)), last: 7 });
    assert_eq!(extent.entries(), 2);
    assert_eq!(head(store).await.sequence, 7);
}

/// As that of sweeping, which is another duty.
pub async fn the_duty_of_pruning_the_audit_log_is_claimed_by_one_of_many(
    store: &dyn StoreUnderTest,
) {
    store.store().duties.claim_duty(Duty::Sweep, NOW, MINUTE, MINUTE).await.expect("an answer");
    let claim = async |now| {
        at_once(store, vec![now; RACERS], |store, now| async move {
            store
                .duties
                .claim_duty(Duty::AuditPruning, now, MINUTE, MINUTE * 10)
                .await
                .expect("an answer")
        })
        .await
    };
    assert_eq!(count(&claim(NOW).await, &true), 1);
    assert_eq!(count(&claim(NOW + MINUTE).await, &true), 1, "a lease ends");
    store.store().duties.end_duty(Duty::AuditPruning, NOW + MINUTE * 2).await.expect("an end");
    assert_eq!(
        store.store().duties.duty_ended_at(Duty::AuditPruning).await,
        Ok(Some(NOW + MINUTE * 2))
    );
    assert_eq!(count(&claim(NOW + MINUTE * 11).await, &true), 0, "too soon");
    assert_eq!(count(&claim(NOW + MINUTE * 12).await, &true), 1);
}

/// By whichever process.
pub async fn the_configuration_of_the_start_before_is_remembered(store: &dyn StoreUnderTest) {
    let swap = async |text: &str| store.store().audit.swap_audit_configuration(text).await;
    assert_eq!(swap("one").await, Ok(None));
    assert_eq!(swap("two").await, Ok(Some("one".to_owned())));
    assert_eq!(swap("").await, Ok(Some("two".to_owned())));
    assert_eq!(head(store).await, AuditHead::default());
}
