use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::model::{Actor, Timestamp};

fn keys(secret: &str) -> AuditKeys {
    AuditKeys { current: AuditKey::derived(&SecretText::new(secret)), former: vec![] }
}

fn user(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(n))
}

fn event(n: u64) -> AuditEvent {
    let at = Timestamp::from_unix(1_800_000_000 - i64::try_from(n).unwrap() * 90);
    let mut event = AuditEvent::new(AuditKind::Login, at, Actor::User).of_user(user(n.into()));
    event.personal.network = Some("192.0.2.0/24".to_owned());
    event.with("n", n)
}

type Change = fn(&mut AuditEntry);

struct Log {
    entries: Vec<AuditEntry>,
    head: AuditHead,
}

impl Log {
    /// A log of so many entries, whose times go backwards.
    fn of(keys: &AuditKeys, count: u64) -> Self {
        let mut log = Self { entries: vec![], head: AuditHead::default() };
        (1..=count).for_each(|n| log.add(keys, event(n)));
        log
    }

    fn add(&mut self, keys: &AuditKeys, event: AuditEvent) {
        let (entry, head) = keys.seal(&self.head, event, false, [7; 16]);
        self.entries.push(entry);
        self.head = head;
    }

    fn check(&self, keys: &AuditKeys, exported: &[ExportedHead]) -> Result<(), AuditFault> {
        let pruning = self.entries.iter().find(|entry| entry.sequence == self.head.pruning);
        let mut reader = ChainReader::begin(keys, self.head, exported, pruning)?;
        let from = reader.position();
        for entry in self.entries.iter().filter(|entry| entry.sequence > from) {
            reader.read(entry)?;
        }
        reader.end()
    }
}

#[test]
fn a_log_is_as_it_was_written_whatever_the_clock_says() {
    let keys = keys("a");
    let log = Log::of(&keys, 20);
    assert_eq!(log.check(&keys, &[]), Ok(()));
    assert_eq!(log.check(&keys, &[ExportedHead::from(&Log::of(&keys, 12).head)]), Ok(()));
    assert_eq!(Log::of(&keys, 0).check(&keys, &[]), Ok(()));
}

#[test]
fn a_changed_field_is_found_whichever_it_is() {
    let keys = keys("a");
    let changes: [(&str, Change); 12] = [
        ("kind", |entry| entry.event.kind = AuditKind::Logout),
        ("at", |entry| entry.event.at = Timestamp::from_unix(0)),
        ("actor", |entry| entry.event.actor = Actor::Service),
        ("user", |entry| entry.event.user = Some(user(99))),
        ("session", |entry| {
            entry.event.session = Some(crate::model::SessionId::from_uuid(Uuid::nil()));
        }),
        ("request", |entry| entry.event.request_id = Some(String::new())),
        ("trace", |entry| entry.event.trace_id = Some(String::new())),
        ("issuer", |entry| entry.event.issuer = Some(String::new())),
        ("details", |entry| entry.event.details = BTreeMap::new()),
        ("late", |entry| entry.is_late = true),
        ("digest", |entry| entry.personal_digest = None),
        ("network", |entry| entry.event.personal.network = Some("198.51.100.0/24".to_owned())),
    ];
    for (what, change) in changes {
        let mut log = Log::of(&keys, 5);
        change(&mut log.entries[2]);
        let found = log.check(&keys, &[]);
        let expected = [AuditFault::Changed(3), AuditFault::PersonalDataChanged(3)];
        assert!(found.as_ref().is_err_and(|fault| expected.contains(fault)), "{what}: {found:?}");
    }
}

#[test]
fn removed_moved_and_added_entries_are_found() {
    let keys = keys("a");
    let mut removed = Log::of(&keys, 5);
    removed.entries.remove(2);
    assert_eq!(removed.check(&keys, &[]), Err(AuditFault::Gap { expected: 3, found: 4 }));

    let mut renumbered = Log::of(&keys, 5);
    renumbered.entries.remove(2);
    renumbered.entries[2].sequence = 3;
    renumbered.entries[3].sequence = 4;
    assert_eq!(renumbered.check(&keys, &[]), Err(AuditFault::Changed(3)));

    let mut moved = Log::of(&keys, 5);
    moved.entries.swap(1, 2);
    (moved.entries[1].sequence, moved.entries[2].sequence) = (2, 3);
    assert_eq!(moved.check(&keys, &[]), Err(AuditFault::Changed(2)));

    let mut beheaded = Log::of(&keys, 5);
    beheaded.entries.remove(0);
    assert_eq!(beheaded.check(&keys, &[]), Err(AuditFault::Gap { expected: 1, found: 2 }));
}

#[test]
fn a_cut_tail_is_found_by_the_head_that_is_kept_or_was_exported() {
    let keys = keys("a");
    let whole = Log::of(&keys, 10);
    let mut cut = Log::of(&keys, 10);
    cut.entries.truncate(5);
    assert_eq!(cut.check(&keys, &[]), Err(AuditFault::Cut { found: 5, expected: 10 }));

    // Whoever writes another head has no proof of it.
    let last = &cut.entries[4];
    cut.head = AuditHead { sequence: 5, mac: last.mac, ..whole.head };
    assert_eq!(cut.check(&keys, &[]), Err(AuditFault::HeadChanged));
    cut.head = AuditHead::default();
    cut.entries.clear();
    assert_eq!(cut.check(&keys, &[]), Ok(()), "an empty log has nothing to show");

    // Whoever has kept an old head of ours passes without the exported one alone.
    let old = Log::of(&keys, 5);
    assert_eq!(old.check(&keys, &[]), Ok(()));
    let exported = [ExportedHead::from(&whole.head)];
    assert_eq!(old.check(&keys, &exported), Err(AuditFault::Cut { found: 5, expected: 10 }));
    assert_eq!(cut.check(&keys, &exported), Err(AuditFault::Cut { found: 0, expected: 10 }));
}

#[test]
fn a_log_that_was_rewritten_without_the_key_is_found() {
    let (ours, theirs) = (keys("a"), keys("b"));
    let rewritten = Log::of(&theirs, 10);
    assert_eq!(rewritten.check(&ours, &[]), Err(AuditFault::HeadChanged));
    let both = AuditKeys { former: vec![theirs.current.clone()], ..ours.clone() };
    assert_eq!(rewritten.check(&both, &[]), Ok(()), "a former key is as good");

    // Without any key, the exported head tells it.
    let none = AuditKeys { current: AuditKey::none(), former: vec![] };
    let exported = [ExportedHead::from(&Log::of(&none, 5).head)];
    let mut other = Log { entries: vec![], head: AuditHead::default() };
    (1..=10).for_each(|n| other.add(&none, event(n + 1)));
    assert_eq!(other.check(&none, &[]), Ok(()));
    assert_eq!(other.check(&none, &exported), Err(AuditFault::Rewritten(5)));
}

#[test]
fn old_entries_are_deleted_up_to_an_anchor_and_no_further() {
    let keys = keys("a");
    let mut log = Log::of(&keys, 10);
    let service =
        || AuditEvent::new(AuditKind::EntriesPruned, Timestamp::from_unix(0), Actor::Service);
    let announcement = service().announcing_pruning(&log.entries[3]);
    assert_eq!(announcement.pruned_through(), Some(4));
    log.add(&keys, announcement);
    assert_eq!(log.head.pruning, 11);
    for gone in 0..=4 {
        assert_eq!(log.check(&keys, &[]), Ok(()), "{gone} are deleted");
        log.entries.remove(0);
    }
    assert_eq!(log.check(&keys, &[]), Err(AuditFault::Gap { expected: 5, found: 6 }));
    log.entries.remove(5);
    assert_eq!(log.check(&keys, &[]), Err(AuditFault::BadAnchor(11)));
}

#[test]
fn an_erased_person_breaks_nothing_and_a_wiped_entry_does() {
    let keys = keys("a");
    let mut log = Log::of(&keys, 5);
    log.entries[2].erase();
    assert!(log.entries[2].is_erased());
    assert_eq!(log.check(&keys, &[]), Err(AuditFault::PersonalDataMissing(3)));
    let deleted = AuditEvent::new(AuditKind::UserDeleted, Timestamp::from_unix(0), Actor::Service);
    log.add(&keys, deleted.clone().of_user(user(2)));
    assert_eq!(log.check(&keys, &[]), Err(AuditFault::PersonalDataMissing(3)));
    log.add(&keys, deleted.of_user(user(3)));
    assert_eq!(log.check(&keys, &[]), Ok(()));
    log.entries[1].salt = None;
    assert_eq!(log.check(&keys, &[]), Err(AuditFault::PersonalDataChanged(2)));
}

#[test]
fn erased_entries_about_no_user_are_as_many_as_deletions_say() {
    let keys = keys("a");
    let mut log = Log::of(&keys, 1);
    for _ in 0..2 {
        log.add(&keys, AuditEvent { user: None, ..event(9) });
    }
    let deleted = AuditEvent::new(AuditKind::UserDeleted, Timestamp::from_unix(0), Actor::Service);
    log.add(&keys, deleted.of_user(user(9)).with(WITHOUT_USER, 1));
    log.entries[1].erase();
    assert_eq!(log.check(&keys, &[]), Ok(()));
    log.entries[2].erase();
    assert_eq!(log.check(&keys, &[]), Err(AuditFault::PersonalDataMissing(3)));
}

#[test]
fn an_exported_head_is_read_as_it_is_written() {
    let head = ExportedHead { sequence: 17, mac: [0xab; 32] };
    assert_eq!(ExportedHead::parse(&format!(" {head}\n")), Some(head));
    for bad in ["", "17", "17:", "17:ab", ":abab", "x:17"] {
        assert_eq!(ExportedHead::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_key_is_not_printed() {
    let text = format!("{:?}", keys("hunter2"));
    assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
}
