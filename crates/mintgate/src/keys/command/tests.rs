use std::fmt::Write as _;
use std::time::Duration;

use clap::Parser as _;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::StoreError;
use mintgate_signer_jose::{Algorithm, KeyInfo, KeyRefusal, KeyRingError, KeyState, Signs};
use mintgate_testkit::ManualClock;

use super::super::test_keys::{ENCRYPTION_KEY, FIXED_ACCESS_KEY, FIXED_REFRESH_KEY, TestKeys};
use super::*;
use crate::settings::Settings;

/// How long keys are published before they sign, and after which time services notice a change.
const PUBLISH_AHEAD: Duration = Duration::from_mins(10);
const RELOAD: Duration = Duration::from_secs(10);

/// What a service that has just started for the first time leaves behind.
async fn started(keys: &TestKeys, clock: &Arc<ManualClock>) -> Settings {
    let settings = keys.settings("");
    keys.started_ring(&settings, clock).await;
    settings
}

async fn run(command: KeysCommand, settings: &Settings, clock: &Arc<ManualClock>) -> KeyReport {
    let outcome = command.run_by(&settings.key_ring(), clock.clone()).await;
    outcome.unwrap_or_else(|error| panic!("{error:#}"))
}

async fn refusal(
    command: KeysCommand,
    settings: &Settings,
    clock: &Arc<ManualClock>,
) -> anyhow::Error {
    command.run_by(&settings.key_ring(), clock.clone()).await.unwrap_err()
}

async fn list(settings: &Settings, clock: &Arc<ManualClock>) -> Vec<KeyInfo> {
    match run(KeysCommand::List, settings, clock).await {
        KeyReport::Keys(keys, _) => keys,
        other => panic!("{other:?}"),
    }
}

fn rotate(key_use: RotatedUse) -> KeysCommand {
    KeysCommand::Rotate { key_use }
}

fn retire(kid: &KeyId, emergency: bool) -> KeysCommand {
    KeysCommand::Retire { kid: kid.to_string(), emergency }
}

fn states(keys: &[KeyInfo]) -> Vec<KeyState> {
    keys.iter().map(|key| key.state).collect()
}

/// The key with what a rotation at `activates_at` makes of it.
fn activated(key: &KeyInfo, state: KeyState, activates_at: Timestamp) -> KeyInfo {
    KeyInfo { state, activates_at: Some(activates_at), ..key.clone() }
}

fn now(clock: &ManualClock) -> Timestamp {
    clock.now().into()
}

async fn list_tells_every_key(keys: TestKeys) {
    let clock = Arc::new(ManualClock::default());
    let settings = started(&keys, &clock).await;
    let listed = list(&settings, &clock).await;
    let now = now(&clock);
    let expected = [
        (KeyUse::Access, Algorithm::Es256, KeyState::Current, Signs::Since(now)),
        (KeyUse::Access, Algorithm::Es256, KeyState::Next, Signs::NotYet),
        (KeyUse::Refresh, Algorithm::Hs256, KeyState::Current, Signs::Since(now)),
        (KeyUse::Refresh, Algorithm::Hs256, KeyState::Next, Signs::NotYet),
    ];
    assert_eq!(listed.len(), expected.len());
    for (key, (key_use, algorithm, state, expected)) in listed.iter().zip(expected) {
        assert_eq!((key.key_use, key.algorithm, key.state), (key_use, Some(algorithm), state));
        assert_eq!((key.created_at, key.signs(&listed)), (now, Some(expected)));
    }

    // Each is a line with all of this, below one line of headings.
    let text = KeyReport::Keys(listed.clone(), vec![]).to_string();
    assert_eq!(text.lines().count(), 5, "{text}");
    for (line, key) in text.lines().skip(1).zip(&listed) {
        let algorithm = key.algorithm.unwrap().name();
        for value in [key.key_use.name(), key.id.as_str(), algorithm, key.state.name()] {
            assert!(line.contains(value), "{line}");
        }
        assert!(line.contains("2026-01-01T00:00:00Z"), "{line}");
    }
}

async fn rotate_waits_until_the_next_key_has_been_published_long_enough(keys: TestKeys) {
    let clock = Arc::new(ManualClock::default());
    let settings = started(&keys, &clock).await;
    let before = list(&settings, &clock).await;
    let due = now(&clock) + PUBLISH_AHEAD;
    clock.advance(Duration::from_mins(1));
    let outcome = run(rotate(RotatedUse::Access), &settings, &clock).await;
    let expected = KeyReport::Rotated {
        key: activated(&before[1], KeyState::Next, due),
        before: None,
        publish_ahead: PUBLISH_AHEAD,
        reload: RELOAD,
    };
    assert_eq!(outcome, expected);
    let text = outcome.to_string();
    let values = [before[1].id.as_str(), "2026-01-01T00:10:00Z", "keys.publish_ahead_secs = 600"];
    assert!(values.iter().all(|value| text.contains(value)), "{text}");
    let listed = list(&settings, &clock).await;
    assert_eq!(listed[0].signs(&listed), Some(Signs::Since(before[0].created_at)));
    assert_eq!(listed[1].signs(&listed), Some(Signs::From(due)));
    // Asked again, it is the same one.
    assert_eq!(run(rotate(RotatedUse::Access), &settings, &clock).await, expected);
    clock.advance(PUBLISH_AHEAD);
    let listed = list(&settings, &clock).await;
    assert_eq!(states(&listed)[..2], [KeyState::Former, KeyState::Current]);
    assert_eq!(listed[0].signs(&listed), Some(Signs::Until(due)));
    assert_eq!(listed[1].signs(&listed), Some(Signs::Since(due)));
}

async fn rotate_is_at_once_where_the_next_key_is_known_already(keys: TestKeys) {
    let clock = Arc::new(ManualClock::default());
    let settings = started(&keys, &clock).await;
    let before = list(&settings, &clock).await;
    clock.advance(PUBLISH_AHEAD);
    let outcome = run(rotate(RotatedUse::Refresh), &settings, &clock).await;
    let expected = KeyReport::Rotated {
        key: activated(&before[3], KeyState::Current, now(&clock)),
        before: Some(before[2].id.clone()),
        publish_ahead: PUBLISH_AHEAD,
        reload: RELOAD,
    };
    assert_eq!(outcome, expected);
    let text = outcome.to_string();
    assert!(before[2..].iter().all(|key| text.contains(key.id.as_str())), "{text}");
    assert_eq!(
        states(&list(&settings, &clock).await),
        [KeyState::Current, KeyState::Next, KeyState::Former, KeyState::Current, KeyState::Next]
    );
}

async fn retire_without_emergency_does_nothing(keys: TestKeys) {
    let clock = Arc::new(ManualClock::default());
    let settings = started(&keys, &clock).await;
    let before = list(&settings, &clock).await;
    for key in &before {
        let refusal = refusal(retire(&key.id, false), &settings, &clock).await;
        assert_eq!(refusal.downcast_ref(), Some(&KeyRefusal::NoEmergency(key.clone())));
        let text = refusal.to_string();
        assert!(text.contains(key.id.as_str()) && text.contains("--emergency"), "{text}");
    }
    assert_eq!(list(&settings, &clock).await, before);
}

async fn retire_removes_a_key_and_the_next_one_signs(keys: TestKeys) {
    let clock = Arc::new(ManualClock::default());
    let settings = started(&keys, &clock).await;
    let before = list(&settings, &clock).await;
    let (retired, next) = (&before[2], &before[3]);
    let outcome = run(retire(&retired.id, true), &settings, &clock).await;
    let successor = Some(next.id.clone());
    let expected = KeyReport::Retired { key: retired.clone(), successor, reload: RELOAD };
    assert_eq!(outcome, expected);
    let text = outcome.to_string();
    assert!(before[2..].iter().all(|key| text.contains(key.id.as_str())), "{text}");
    let listed = list(&settings, &clock).await;
    assert!(listed.iter().all(|key| key.id != retired.id));
    assert_eq!((&listed[2].id, listed[2].state), (&next.id, KeyState::Current));
    assert_eq!(listed[3].state, KeyState::Next);

    // The one that stands by leaves no gap either.
    let key = listed[1].clone();
    let outcome = run(retire(&key.id, true), &settings, &clock).await;
    assert_eq!(outcome, KeyReport::Retired { key: key.clone(), successor: None, reload: RELOAD });
    let after = list(&settings, &clock).await;
    assert_eq!((after.len(), &after[0], after[1].state), (4, &listed[0], KeyState::Next));
    assert!(after[1].id != key.id);
}

async fn an_unknown_key_is_told_with_the_known_ones(keys: TestKeys) {
    let clock = Arc::new(ManualClock::default());
    let settings = started(&keys, &clock).await;
    let known = list(&settings, &clock).await;
    let kid = KeyId::new("nobody");
    for emergency in [false, true] {
        let refusal = refusal(retire(&kid, emergency), &settings, &clock).await;
        let expected = KeyRefusal::NoSuchKey { id: kid.clone(), keys: known.clone() };
        assert_eq!(refusal.downcast_ref(), Some(&expected));
        let text = refusal.to_string();
        assert!(text.contains("nobody"), "{text}");
        assert!(known.iter().all(|key| text.contains(key.id.as_str())), "{text}");
    }
    assert_eq!(list(&settings, &clock).await, known);
}

async fn nothing_that_is_said_holds_key_material(keys: TestKeys) {
    let clock = Arc::new(ManualClock::default());
    let settings = started(&keys, &clock).await;
    let secrets = keys.secrets(&settings).await;
    assert!(secrets.len() >= 4);
    let kid = list(&settings, &clock).await[0].id.clone();
    let nobody = KeyId::new("nobody");
    let mut said = String::new();
    for command in [KeysCommand::List, rotate(RotatedUse::Access), retire(&kid, true)] {
        let outcome = run(command, &settings, &clock).await;
        let _ = write!(said, "{outcome} {outcome:?}");
    }
    let kid = list(&settings, &clock).await[0].id.clone();
    for command in [retire(&kid, false), retire(&nobody, true)] {
        let refusal = refusal(command, &settings, &clock).await;
        let _ = write!(said, "{refusal:#} {refusal:?}");
    }
    for secret in secrets.iter().map(String::as_str).chain([ENCRYPTION_KEY]) {
        assert!(!said.contains(secret), "{said}");
    }
}

macro_rules! in_both_places {
    ($($name:ident),+ $(,)?) => {
        mod in_a_directory {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(TestKeys::in_directory().await).await; })+
        }
        mod in_a_store {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(TestKeys::in_store().await).await; })+
        }
    };
}

in_both_places!(
    list_tells_every_key,
    rotate_waits_until_the_next_key_has_been_published_long_enough,
    rotate_is_at_once_where_the_next_key_is_known_already,
    retire_without_emergency_does_nothing,
    retire_removes_a_key_and_the_next_one_signs,
    an_unknown_key_is_told_with_the_known_ones,
    nothing_that_is_said_holds_key_material,
);

#[tokio::test]
async fn a_key_of_the_configuration_is_listed_and_not_changed() {
    let clock = Arc::new(ManualClock::default());
    let keys = TestKeys::in_directory().await;
    started(&keys, &clock).await;
    let settings = keys.settings(&format!("access_key = '''{FIXED_ACCESS_KEY}'''"));
    let listed = list(&settings, &clock).await;
    let fixed = &listed[0];
    assert_eq!((fixed.key_use, fixed.id.as_str()), (KeyUse::Access, "fixed-access"));
    assert_eq!((fixed.number, fixed.signs(&listed)), (None, Some(Signs::Always)));
    assert_eq!((listed[1].key_use, listed.len()), (KeyUse::Refresh, 3));
    for command in [rotate(RotatedUse::Access), retire(&fixed.id, true), retire(&fixed.id, false)] {
        let error = refusal(command, &settings, &clock).await;
        assert!(matches!(error.downcast_ref(), Some(KeyRingError::Fixed(KeyUse::Access))));
    }
    let outcome = run(rotate(RotatedUse::Refresh), &settings, &clock).await;
    assert!(matches!(outcome, KeyReport::Rotated { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_key_of_an_unknown_algorithm_is_listed_as_unknown_and_can_be_retired() {
    let clock = Arc::new(ManualClock::default());
    let keys = TestKeys::in_directory().await;
    let settings = started(&keys, &clock).await;
    let before = list(&settings, &clock).await;
    keys.make_algorithm_unknown("access-1.jwk");
    let listed = list(&settings, &clock).await;
    let unknown = &listed[0];
    assert_eq!((&unknown.id, unknown.algorithm), (&before[0].id, None));
    assert_eq!((unknown.state, unknown.created_at), (KeyState::Unusable, before[0].created_at));
    assert_eq!(unknown.signs(&listed), Some(Signs::Never));
    assert_eq!(listed[1..], before[1..]);

    let error = refusal(retire(&unknown.id, false), &settings, &clock).await;
    assert_eq!(error.downcast_ref(), Some(&KeyRefusal::NoEmergency(unknown.clone())));
    let outcome = run(retire(&unknown.id, true), &settings, &clock).await;
    let expected = KeyReport::Retired { key: unknown.clone(), successor: None, reload: RELOAD };
    assert_eq!(outcome, expected);
    assert_eq!(
        states(&list(&settings, &clock).await),
        [KeyState::Current, KeyState::Next, KeyState::Current, KeyState::Next]
    );
}

#[tokio::test]
async fn keys_that_are_all_configured_need_neither_directory_nor_store() {
    let clock = Arc::new(ManualClock::default());
    let keys = TestKeys::in_directory().await;
    let settings = keys.settings(&format!(
        "access_key = '''{FIXED_ACCESS_KEY}'''\nrefresh_key = '''{FIXED_REFRESH_KEY}'''"
    ));
    assert_eq!(list(&settings, &clock).await.len(), 2);
    assert!(!keys.directory().exists());
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_and_is_not_made() {
    let clock = Arc::new(ManualClock::default());
    let keys = TestKeys::in_directory().await;
    let settings = keys.settings("");
    let kid = KeyId::new("x");
    for command in [KeysCommand::List, rotate(RotatedUse::Access), retire(&kid, true)] {
        let error = refusal(command, &settings, &clock).await;
        assert_eq!(error.downcast_ref(), Some(&NoKeyDirectory(keys.directory())));
        assert!(error.to_string().contains("keys.dir"), "{error}");
    }
    assert!(!keys.directory().exists());
}

#[tokio::test]
async fn a_store_without_its_schema_is_an_error_that_says_what_to_do() {
    let clock = Arc::new(ManualClock::default());
    let keys = TestKeys::in_store_without_schema();
    let error = refusal(KeysCommand::List, &keys.settings(""), &clock).await;
    let kind = error.downcast_ref();
    assert!(matches!(kind, Some(KeyRingError::Store(StoreError::SchemaMismatch(_)))), "{kind:?}");
    assert!(error.to_string().contains("mintgate migrate"), "{error}");
}

#[derive(clap::Parser)]
struct Cli {
    #[command(subcommand)]
    command: KeysCommand,
}

#[test]
fn a_kid_may_begin_with_a_hyphen() {
    for line in
        [["keys", "retire", "-a_B", "--emergency"], ["keys", "retire", "--emergency", "--x-"]]
    {
        let KeysCommand::Retire { kid, emergency } = Cli::parse_from(line).command else {
            panic!("{line:?}")
        };
        assert!(emergency && ["-a_B", "--x-"].contains(&kid.as_str()), "{line:?} {kid}");
    }
}
