//! The file, its migrations, and what goes wrong with either.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{config, fresh_store, open};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use futures_util::future::{join_all, try_join_all};
use mintgate_domain::model::{
    KeyId, KeyRecord, KeySet, KeyUse, NewIdentity, NewUser, Replica, RevokeReason, SealedToken,
    UpstreamTokens,
};
use mintgate_domain::ports::{
    Duties, Duty, Housekeeping, IdempotencyRecords, KeyRepo, LogoutOrder, OnceMarks, OpenOutcome,
    RefreshTokenRepo, Replicas, SessionChange, StoreError, StoreHealth, StoreOperation, SweepStep,
    UpstreamDue, UpstreamRenewal, UpstreamTokenRepo, UserDirectory,
};
use mintgate_domain::{SecretText, TokenHash, chain};
use mintgate_store_sqlite::{SqliteConfig, SqliteStore};
use mintgate_testkit::openings::{NOW, Openings, identity, repeatable, single_use};
use mintgate_testkit::rotations::rotation;
use mintgate_testkit::{
    ManualClock, MetricEvent, NoMetrics, RecordingMetrics, StoreCalls, StoreUnderTest,
};

const ALL: [&str; 16] = [
    "0001_users_and_sessions",
    "0002_session_life",
    "0003_identities_and_providers",
    "0004_session_epochs",
    "0005_profiles",
    "0007_replicas",
    "0008_kept_id_tokens",
    "0009_replica_keys",
    "0010_administration",
    "0011_kept_access_tokens",
    "0012_audit_log",
    "0014_restore_epoch",
    "0015_sealing_keys",
    "0016_revocations",
    "0018_former_ids",
    "0019_session_engine",
];

fn cannot_open(path: &std::path::Path) -> String {
    let config = SqliteConfig { path: path.to_owned(), busy_timeout: Duration::from_secs(1) };
    let opened = SqliteStore::open(&config, Arc::new(NoMetrics), Arc::new(ManualClock::default()));
    chain(&opened.err().expect("it cannot be opened")).to_string()
}

fn execute(path: &std::path::Path, sql: &str) {
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection.batch_execute(sql).unwrap();
}

#[tokio::test]
async fn an_empty_file_is_planned_migrated_and_then_current() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&config(&directory));
    let lacks = StoreError::SchemaMismatch(format!("it lacks {}", ALL.join(", ")).into());

    assert_eq!(store.pending_migrations().await.unwrap(), ALL);
    assert_eq!(store.pending_migrations().await.unwrap(), ALL, "a plan changes nothing");
    assert_eq!(store.check().await, Err(lacks));
    let opening = Openings::default().new_user(identity("ada"));
    for error in [
        store.find_user(&identity("ada")).await.unwrap_err(),
        store.open_session(&opening).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::SchemaMismatch(_)), "{error}");
    }

    assert_eq!(store.migrate().await.unwrap(), ALL);
    assert_eq!(store.pending_migrations().await.unwrap(), [""; 0]);
    assert_eq!(store.migrate().await.unwrap(), [""; 0]);
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Opened));
}

#[tokio::test]
async fn processes_that_migrate_at_once_take_turns() {
    let directory = tempfile::tempdir().unwrap();
    let processes: Vec<_> = (0..6).map(|_| open(&config(&directory))).collect();
    // As before a later migration: the list is there, so looking at it takes no lock yet.
    execute(
        &config(&directory).path,
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
            run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    );
    let runs = try_join_all(processes.iter().map(|process| process.migrate())).await.unwrap();
    assert_eq!(runs.concat(), ALL);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let test = fresh_store().await;
    let opening = Openings::default().new_user(identity("ada"));
    test.store.open_session(&opening).await.unwrap();
    let restarted = open(&config(&test.directory));
    let found = restarted.find_user(&identity("ada")).await.unwrap().unwrap();
    assert_eq!(found.user.id, opening.user_id());
}

#[tokio::test]
async fn several_processes_write_to_one_file() {
    let test = fresh_store().await;
    let processes: Vec<_> = (0..4).map(|_| open(&config(&test.directory))).collect();
    let openings = Openings::default();
    let openings: Vec<_> =
        (0..40).map(|n| openings.new_user(identity(&format!("user-{n}")))).collect();
    let calls = openings.iter().enumerate();
    let calls = calls.map(|(n, opening)| processes[n % processes.len()].open_session(opening));
    for outcome in join_all(calls).await {
        assert_eq!(outcome, Ok(OpenOutcome::Opened));
    }
    assert_eq!(test.dump().await.counts(), [40, 40, 0, 40]);
}

#[tokio::test]
async fn case_45_only_the_owner_can_read_the_files() {
    let test = fresh_store().await;
    let opening = Openings::default().new_user(identity("ada"));
    test.store.open_session(&opening).await.unwrap();
    let mut names = Vec::new();
    for entry in test.directory.path().read_dir().unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["mintgate.db", "mintgate.db-shm", "mintgate.db-wal"]);
}

#[tokio::test]
async fn a_missing_directory_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = cannot_open(&missing.join("mintgate.db"));
    // The error of the file itself would name neither the directory alone nor the setting.
    let names = error.replace(&missing.join("mintgate.db").display().to_string(), "");
    assert!(names.contains(&missing.display().to_string()), "{error}");
    assert!(names.contains("store.url"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let notes = "not a database, and long enough to be looked at\n".repeat(100);
    std::fs::write(&path, &notes).unwrap();
    let error = cannot_open(&path);
    assert!(error.contains("file is not a database"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}

#[tokio::test]
async fn a_name_that_means_something_to_sqlite_is_only_a_name() {
    let directory = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:x?mode=memory", "sqlite:db"] {
        let path = directory.path().join(name);
        let store = open(&SqliteConfig { path: path.clone(), ..config(&directory) });
        store.migrate().await.unwrap();
        assert_eq!(store.check().await, Ok(()));
        assert!(std::fs::metadata(path).unwrap().len() > 0, "{name}");
    }
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_is_unavailable_in_time() {
    let test = fresh_store().await;
    let store = test.impatient();
    let opening = Openings::default().new_user(identity("ada"));

    test.execute("BEGIN IMMEDIATE");
    let error = store.open_session(&opening).await.unwrap_err();
    assert_eq!(error, StoreError::Unavailable("database is locked".into()));
    assert_eq!(store.find_user(&identity("ada")).await, Ok(None), "reading goes on");
    test.execute("ROLLBACK");
    assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Opened));
}

#[tokio::test]
async fn a_caller_that_hangs_up_harms_nobody() {
    // On the single-threaded runtime that serves requests, while its call waits for a lock.
    let test = fresh_store().await;
    let openings = Openings::default();
    let first = openings.new_user(identity("ada"));
    assert_eq!(test.store.open_session(&first).await, Ok(OpenOutcome::Opened));
    let abandoned = openings.existing(first.user_id());
    test.execute("BEGIN IMMEDIATE");
    {
        let call = test.store.open(&abandoned);
        let hung_up = tokio::time::timeout(Duration::from_millis(50), call).await;
        assert!(hung_up.is_err(), "the call was under way");
    }
    test.execute("ROLLBACK");
    let next = openings.new_user(identity("bob"));
    assert_eq!(test.store.open_session(&next).await, Ok(OpenOutcome::Opened));
    // The abandoned call went to its end, before the next one.
    assert_eq!(test.dump().await.counts(), [2, 2, 0, 3]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_called_corrupt_by_its_column() {
    let test = fresh_store().await;
    let opening = Openings::default().new_user(identity("ada"));
    test.store.open_session(&opening).await.unwrap();
    for roles in ["[\"secret-role\", 1]", "secret-role"] {
        test.execute("PRAGMA ignore_check_constraints = ON");
        test.execute(&format!("UPDATE users SET granted_roles = '{roles}'"));
        let error = test.store.find_user(&identity("ada")).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        let message = chain(&error).to_string();
        assert!(
            message.contains("users.granted_roles") && !message.contains("secret"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_refused_without_its_values() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let mut beyond_the_limit = openings.new_user(identity("ada"));
    beyond_the_limit.session.refresh.expires_at =
        beyond_the_limit.session.absolute_expires_at + Duration::from_secs(1);
    let too_long = openings.new_user(identity(&"a".repeat(256)));
    for opening in [beyond_the_limit, too_long] {
        let error = test.store.open_session(&opening).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        assert!(!chain(&error).to_string().contains("aaaa"), "{error:?}");
    }
    assert_eq!(test.dump().await.counts(), [1, 1, 0, 0], "a user without a session");
}

fn replica() -> Replica {
    Replica {
        id: [1; 16],
        name: "host".to_owned(),
        issuer: "https://auth.example.com".to_owned(),
        access: KeySet::OfStore,
        refresh: KeySet::OfStore,
    }
}

fn key_record(id: &KeyId) -> KeyRecord {
    KeyRecord {
        key_use: KeyUse::Access,
        number: 1,
        id: id.clone(),
        material: SecretText::new("sealed"),
        created_at: NOW,
        activates_at: None,
    }
}

#[tokio::test]
async fn each_call_is_timed_under_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = Arc::new(RecordingMetrics::default());
    let clock = Arc::new(ManualClock::default());
    let store = SqliteStore::open(&config(&directory), metrics.clone(), clock).unwrap();
    store.migrate().await.unwrap();
    let opening = Openings::default().new_user(identity("ada"));
    let (user, id) = (opening.user_id(), opening.session.id);
    let key = KeyId::new("a key");
    let record = key_record(&key);
    let step = SweepStep { after: None, limit: 9, now: NOW, keep_ended: Duration::ZERO };
    let provider = opening.session.provider.clone();
    let new_user =
        NewUser { id: user, identity: identity("ada"), provider: provider.clone(), now: NOW };
    let new = NewIdentity { identity: identity("another"), provider, now: NOW };
    let renewal =
        UpstreamRenewal { tokens: UpstreamTokens::default(), claimed_roles: None, at: NOW };
    let order = LogoutOrder {
        issuer: new.identity.issuer.clone(),
        subject: None,
        session: Some("a session".to_owned()),
        id: TokenHash::of("an order"),
        expires_at: NOW,
    };

    let replica = replica();

    store.find_user(&identity("ada")).await.unwrap();
    store.find_or_create(&new_user).await.unwrap();
    store.find_person(user, &identity("ada")).await.unwrap();
    store.open(&opening).await.unwrap();
    store.find(repeatable("ada").request.key, NOW).await.unwrap();
    let request = repeatable("reserved").request;
    store.reserve(&request, &[1; 16], Duration::ZERO, NOW).await.unwrap();
    store.release(request.key, &[1; 16]).await.unwrap();
    let session = store.load(id).await.unwrap().unwrap().session;
    store.exchange(&rotation(&session, NOW), None).await.unwrap();
    store.replace(&session, SessionChange::CountReplay).await.unwrap();
    store.load_upstream(id).await.unwrap();
    store.claim_upstream(id, UpstreamDue::Recheck(NOW), NOW, NOW).await.unwrap();
    store.release_upstream(id, &SealedToken("old".to_owned())).await.unwrap();
    store.forget_upstream(id, &SealedToken("old".to_owned())).await.unwrap();
    store.keep_upstream(id, &renewal).await.unwrap();
    store.live_sessions(user, NOW, 9).await.unwrap();
    store.end_provider_sessions(&order, NOW).await.unwrap();
    store.identities(user).await.unwrap();
    store.link_identity(user, &new, None).await.unwrap();
    store.unlink_identity(user, &new.identity, id, RevokeReason::Logout, NOW).await.unwrap();
    store.end_session(id, user, RevokeReason::Logout, NOW).await.unwrap();
    store.end_user_sessions(user, RevokeReason::Logout, NOW).await.unwrap();
    store.end_identity_sessions(&identity("ada"), RevokeReason::Logout, NOW).await.unwrap();
    store.claim(&single_use("ada")).await.unwrap();
    store.is_claimed(single_use("ada").hash).await.unwrap();
    store.claim_duty(Duty::Sweep, NOW, Duration::ZERO, Duration::ZERO).await.unwrap();
    store.sweep(&step).await.unwrap();
    store.refresh_key_in_use(&key, NOW).await.unwrap();
    store.end_duty(Duty::Sweep, NOW).await.unwrap();
    store.announce(&replica, Duration::ZERO).await.unwrap();
    store.withdraw(&replica.id).await.unwrap();
    store.list_keys().await.unwrap();
    store.add_key(&record).await.unwrap();
    store.activate_key(KeyUse::Access, &key, NOW).await.unwrap();
    store.remove_key(KeyUse::Access, &key).await.unwrap();
    let took = Duration::ZERO;
    let expected = [
        StoreOperation::FindUser,
        StoreOperation::CreateUser,
        StoreOperation::FindUser,
        StoreOperation::OpenSession,
        StoreOperation::Idempotency,
        StoreOperation::Idempotency,
        StoreOperation::Idempotency,
        StoreOperation::FindSession,
        StoreOperation::Rotate,
        StoreOperation::Rotate,
        StoreOperation::Upstream,
        StoreOperation::Upstream,
        StoreOperation::Upstream,
        StoreOperation::Upstream,
        StoreOperation::Upstream,
        StoreOperation::LiveSessions,
        StoreOperation::EndProviderSessions,
        StoreOperation::Identities,
        StoreOperation::LinkIdentity,
        StoreOperation::UnlinkIdentity,
        StoreOperation::EndSession,
        StoreOperation::EndUserSessions,
        StoreOperation::EndIdentitySessions,
        StoreOperation::OnceMarks,
        StoreOperation::OnceMarks,
        StoreOperation::Sweep,
        StoreOperation::Sweep,
        StoreOperation::Sweep,
        StoreOperation::Sweep,
        StoreOperation::Replicas,
        StoreOperation::Replicas,
        StoreOperation::Keys,
        StoreOperation::Keys,
        StoreOperation::Keys,
        StoreOperation::Keys,
    ]
    .map(|operation| MetricEvent::StoreQuery { operation, took });
    assert_eq!(metrics.events(), expected);
}

#[tokio::test]
async fn nothing_is_written_to_a_file_that_was_deleted_or_replaced() {
    let test = fresh_store().await;
    let config = config(&test.directory);
    // A write waits that long for the file to come back.
    let store = open(&SqliteConfig { busy_timeout: Duration::from_secs(1), ..config.clone() });
    let openings = Openings::default();
    let opening = openings.new_user(identity("ada"));
    assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Opened));
    let path = &config.path;
    let aside = path.with_extension("aside");
    std::fs::rename(path, &aside).unwrap();
    let unavailable = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    };
    let next = openings.new_user(identity("eve"));
    unavailable(store.check().await);
    unavailable(store.open_session(&next).await.map(drop));
    assert!(!path.exists(), "no new file is made");

    std::fs::copy(&aside, path).unwrap();
    unavailable(store.check().await);
    unavailable(store.open_session(&next).await.map(drop));

    std::fs::rename(&aside, path).unwrap();
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(store.find_user(&identity("eve")).await, Ok(None), "refused means not stored");
    assert_eq!(store.open_session(&next).await, Ok(OpenOutcome::Opened));
}

#[tokio::test]
async fn whether_the_store_can_be_used_is_told_while_all_readers_are_in_use() {
    let test = fresh_store().await;
    assert_eq!(test.store.check().await, Ok(()));
    test.execute("BEGIN IMMEDIATE");
    assert_eq!(test.store.check().await, Ok(()), "somebody writes");
    test.execute("ROLLBACK");
}
