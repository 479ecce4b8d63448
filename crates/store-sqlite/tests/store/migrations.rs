//! Schemas of earlier releases, with rows in them.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use mintgate_domain::model::{
    ExternalIdentity, PresentedRefresh, PreviousToken, Profile, RevokeReason, Revoked, Role,
    SealedToken, Session, SessionEnd, SessionId, UserId,
};
use mintgate_domain::ports::{
    IdempotencyRecords, KeyRepo, OpenOutcome, RefreshTokenRepo, RevocationLog, StoreError,
    StoreHealth, UserDirectory,
};
use mintgate_domain::{RotateOutcome, TokenHash};
use mintgate_testkit::openings::{
    NOW, Openings, id_token_text, idempotency_key_text, identity, repeatable, single_use,
};
use mintgate_testkit::rotations::{presenting, rotation};
use mintgate_testkit::{StoreCalls, StoreUnderTest};
use uuid::Uuid;

use crate::harness::{config, found, fresh_store, open};

macro_rules! migration {
    ($file:literal) => {
        include_str!(concat!("../../../../migrations/sqlite/", $file))
    };
}

const SINCE_THIRD: [&str; 14] = [
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

/// A file as the release before left it, and rows that it wrote.
fn of_the_second_schema(path: &std::path::Path) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    for sql in [
        "PRAGMA foreign_keys = ON",
        migration!("0001_users_and_sessions/up.sql"),
        migration!("0002_session_life/up.sql"),
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
            run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
         INSERT INTO __diesel_schema_migrations (version) VALUES ('0001'), ('0002')",
    ] {
        connection.batch_execute(sql).unwrap();
    }
    connection
}

fn user(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(n))
}

fn session(n: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(n))
}

fn bytes(id: &Uuid) -> String {
    format!("x'{}'", id.simple())
}

fn digest(text: &str) -> String {
    let hash = TokenHash::of(text);
    let digits = hash.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    format!("x'{}'", digits.collect::<String>())
}

fn add_user(connection: &mut SqliteConnection, user: UserId, identities: &[(&str, i64)]) {
    let id = bytes(user.as_uuid());
    let now = NOW.as_unix();
    let sql = format!("INSERT INTO users (id, created_at) VALUES ({id}, {now})");
    connection.batch_execute(&sql).unwrap();
    for (subject, age) in identities {
        let ExternalIdentity { issuer, subject } = identity(subject);
        let sql = format!(
            "INSERT INTO external_identities (issuer, subject, provider, user_id, created_at)
                VALUES ('{issuer}', '{subject}', 'corp', {id}, {now} - {age})"
        );
        connection.batch_execute(&sql).unwrap();
    }
}

/// Rotated once; its tokens are called after it.
fn add_session(connection: &mut SqliteConnection, id: SessionId, user: UserId, more: &str) {
    let (now, name) = (NOW.as_unix(), id.to_string());
    let sql = format!(
        "INSERT INTO sessions (id, user_id, provider, gen, cur_hash, cur_kid, cur_iat, cur_exp,
            prev_hash, prev_replays, rotated_at, absolute_expires_at, created_at, last_used_at,
            user_agent, ip_prefix, roles, auth_time, acr, amr, extra_claims)
         VALUES ({id}, {user}, 'corp', 1, {current}, 'refresh-1', {now}, {now} + 1000,
            {before}, 2, {now}, {now} + 5000, {now} - 60, {now},
            'Tests/1.0', '192.0.2.0/24', '[\"admin\",\"user\"]', {now} - 70, 'silver', '[\"pwd\"]',
            '{{\"a\":1}}');
         UPDATE sessions SET id = id {more} WHERE id = {id}",
        id = bytes(id.as_uuid()),
        user = bytes(user.as_uuid()),
        current = digest(&format!("current of {name}")),
        before = digest(&format!("before of {name}")),
    );
    connection.batch_execute(&sql).unwrap();
}

#[tokio::test]
async fn sessions_of_the_release_before_are_refreshed_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(&directory).path;
    {
        let mut file = of_the_second_schema(&path);
        add_user(&mut file, user(1), &[("younger", 5), ("ada", 10), ("b", 10)]);
        add_user(&mut file, user(2), &[("bob", 0)]);
        add_user(&mut file, user(3), &[]);
        add_session(&mut file, session(1), user(1), "");
        let end = format!(", revoked_at = {}, revoke_reason = 'logout'", NOW.as_unix());
        add_session(&mut file, session(2), user(2), &end);
        add_session(&mut file, session(3), user(3), "");
        for (key, id) in [("ada", 1), ("nobody", 3)] {
            let record = repeatable(key);
            let sql = format!(
                "INSERT INTO idempotency_keys VALUES ({}, {}, {}, {})",
                digest(&idempotency_key_text(key)),
                digest(&format!("the body of {key}")),
                bytes(session(id).as_uuid()),
                record.expires_at.as_unix(),
            );
            file.batch_execute(&sql).unwrap();
        }
        let mark = format!(
            "INSERT INTO consumed_id_tokens VALUES ({}, {})",
            digest(&id_token_text("used")),
            single_use("used").expires_at.as_unix()
        );
        file.batch_execute(&mark).unwrap();
    }

    let store = open(&config(&directory));
    assert_eq!(store.migrate().await.unwrap(), SINCE_THIRD);

    // As it was, and what is new is what it must have been.
    let found = store.find_session(session(1)).await.unwrap().expect("a session");
    let roles = vec![Role::new("admin"), Role::new("user")];
    assert_eq!((found.user, &found.identity), (user(1), &identity("ada")));
    assert_eq!((&found.upstream_sid, &found.claimed_roles), (&None, &roles));
    assert_eq!((&found.grant.roles, found.grant.acr.as_deref()), (&roles, Some("silver")));
    let current = TokenHash::of(&format!("current of {}", session(1)));
    let before = TokenHash::of(&format!("before of {}", session(1)));
    assert_eq!((found.refresh.generation, found.refresh.hash), (1, current));
    assert_eq!(found.previous, Some(PreviousToken { hash: before, rotated_at: NOW, replays: 2 }));
    assert_eq!((found.last_used_at, found.created_at), (NOW, NOW - Duration::from_mins(1)));
    let ended = store.find_session(session(2)).await.unwrap().expect("a session");
    assert_eq!(ended.identity, identity("bob"));
    assert_eq!(ended.end, Some(SessionEnd { at: NOW, reason: RevokeReason::Logout }));
    assert_eq!(store.find_session(session(3)).await, Ok(None), "no sign-in can have made it");

    // A lost answer is given again, and then the session is refreshed.
    let lost = PresentedRefresh { generation: 0, hash: before };
    let replayed = store.rotate(&presenting(&found, lost, NOW)).await.unwrap();
    assert!(matches!(replayed, RotateOutcome::Replayed(_)), "{replayed:?}");
    let rotated = store.rotate(&rotation(&found, NOW)).await.unwrap();
    assert!(matches!(rotated, RotateOutcome::Rotated(_)), "{rotated:?}");

    // Nothing that counts once counts again.
    let request = repeatable("ada").request;
    assert_eq!(store.find(request.key, NOW).await, Ok(Some((request, session(1)))));
    let nobodys = repeatable("nobody").request.key;
    assert_eq!(store.find(nobodys, NOW).await, Ok(None));
    let mut opening = Openings::default().existing(user(1));
    opening.single_use = Some(single_use("used"));
    assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Replayed));

    let identities = store.identities(user(1)).await.unwrap();
    let subjects: Vec<_> =
        identities.iter().map(|linked| linked.identity.subject.as_str()).collect();
    assert_eq!(subjects, ["ada", "b", "younger"]);

    // What ends from now on is logged, and nothing from before.
    let logged = async || {
        let page = store.revocations(None, NOW, 10).await.unwrap().expect("a page");
        page.events.into_iter().map(|event| event.revoked).collect::<Vec<_>>()
    };
    assert_eq!(logged().await, []);
    store.end_session(session(1), user(1), RevokeReason::Logout, NOW).await.unwrap();
    assert_eq!(logged().await, [Revoked::Session(session(1))]);
}

/// A file that had the seventh migration before there was a fifth.
#[tokio::test]
async fn a_migration_with_a_lower_number_than_the_last_is_made_up_for() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let first = openings.new_user(identity("ada"));
    assert_eq!(test.store.open_session(&first).await, Ok(OpenOutcome::Opened));
    let session = found(&test, first.session.id).await;
    test.execute(migration!("0012_audit_log/down.sql"));
    test.execute(migration!("0010_administration/down.sql"));
    test.execute(migration!("0005_profiles/down.sql"));
    test.execute(
        "DELETE FROM __diesel_schema_migrations WHERE version IN ('0005', '0010', '0012')",
    );

    let store = open(&config(&test.directory));
    let missing = ["0005_profiles", "0010_administration", "0012_audit_log"];
    let lacks = StoreError::SchemaMismatch(format!("it lacks {}", missing.join(", ")).into());
    assert_eq!(store.check().await, Err(lacks));
    assert_eq!(store.migrate().await.unwrap(), missing);
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(found(&test, session.id).await, session);
    let mut opening = openings.existing(session.user);
    let profile = Profile { name: Some("Ada".to_owned()), ..Profile::default() };
    opening.profile = Some(profile.clone());
    assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Opened));
    let person = store.find_user(&identity("ada")).await.unwrap().expect("a person");
    assert_eq!(person.user.profile, profile);
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_referred_to_as_before() {
    let test = fresh_store().await;
    let names = test.lines("SELECT name || coalesce(sql, '') AS line FROM sqlite_master");
    let is_left = |name: &String| ["_0003", "_0008"].iter().any(|mark| name.contains(mark));
    assert!(!names.iter().any(is_left), "{names:?}");

    let mut opening = Openings::default().new_user(identity("ada"));
    opening.idempotency = Some(repeatable("ada"));
    opening.upstream.refresh = Some(SealedToken("sealed".to_owned()));
    assert_eq!(test.store.open_session(&opening).await, Ok(OpenOutcome::Opened));
    let tables = ["external_identities", "sessions", "idempotency_keys", "upstream_tokens"];
    let dump = test.dump().await;
    assert_eq!(tables.map(|table| dump.rows(table).len()), [1; 4]);
    // Each goes with what it hangs on.
    test.execute("PRAGMA foreign_keys = ON; DELETE FROM users");
    let dump = test.dump().await;
    assert_eq!(tables.map(|table| dump.rows(table).len()), [0; 4]);
}

/// What a rotation rewrites in place stays out of every index.
#[tokio::test]
async fn only_what_never_changes_after_a_sign_in_is_indexed() {
    let test = fresh_store().await;
    let mut columns = test.lines(
        "SELECT DISTINCT c.name AS line FROM pragma_index_list('sessions') i
            JOIN pragma_index_info(i.name) c",
    );
    columns.sort();
    assert_eq!(columns, ["absolute_expires_at", "id", "subject", "upstream_sid", "user_id"]);
}

/// However many sessions of others there are.
#[tokio::test]
async fn orders_of_providers_read_no_whole_table() {
    let test = fresh_store().await;
    for (condition, index) in [
        ("subject = 'ada'", "sessions_subject"),
        ("upstream_sid IS NOT NULL AND upstream_sid IS 's-1'", "sessions_upstream_sid"),
    ] {
        let plan = format!(
            "EXPLAIN QUERY PLAN UPDATE sessions SET revoked_at = 1, revoke_reason = 'logout'
                WHERE issuer = 'i' AND revoked_at IS NULL AND cur_exp > 1 AND {condition}"
        );
        let plan = test.plan(&plan);
        assert!(plan.contains(&format!("SEARCH sessions USING INDEX {index}")), "{plan}");
    }
}

#[tokio::test]
async fn the_exchange_of_a_token_searches_by_primary_key() {
    let test = fresh_store().await;
    let plan = test.plan(
        "EXPLAIN QUERY PLAN UPDATE sessions SET gen = 1
            WHERE id = x'00' AND user_id = x'00' AND gen = 0 AND cur_hash = x'00'
                AND revoked_at IS NULL AND cur_exp > 1 AND min(absolute_expires_at, 1) = 1
                AND EXISTS (SELECT 1 FROM users
                    WHERE users.id = x'00' AND users.session_epoch = sessions.user_epoch)",
    );
    assert!(plan.contains("SEARCH sessions USING INDEX sqlite_autoindex_sessions_1"), "{plan}");
}

#[tokio::test]
async fn the_migrations_can_be_undone_and_done_again() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let live = openings.new_user(identity("ada"));
    let user = live.user_id();
    let ended = openings.existing(user);
    for opening in [&live, &ended] {
        assert_eq!(test.store.open_session(opening).await, Ok(OpenOutcome::Opened));
    }
    let session = found(&test, live.session.id).await;
    let reason = RevokeReason::ProviderLogout;
    test.store.end_session(ended.session.id, user, reason, NOW).await.unwrap();

    let before = test.dump().await;
    let undo = |number: &str, sql: &str| {
        test.execute(sql);
        let forget = format!("DELETE FROM __diesel_schema_migrations WHERE version = '{number}'");
        test.execute(&forget);
    };
    undo("0019", migration!("0019_session_engine/down.sql"));
    undo("0018", migration!("0018_former_ids/down.sql"));
    undo("0016", migration!("0016_revocations/down.sql"));
    undo("0015", migration!("0015_sealing_keys/down.sql"));
    undo("0014", migration!("0014_restore_epoch/down.sql"));
    undo("0012", migration!("0012_audit_log/down.sql"));
    undo("0011", migration!("0011_kept_access_tokens/down.sql"));
    undo("0010", migration!("0010_administration/down.sql"));
    undo("0009", migration!("0009_replica_keys/down.sql"));
    undo("0008", migration!("0008_kept_id_tokens/down.sql"));
    undo("0007", migration!("0007_replicas/down.sql"));
    undo("0005", migration!("0005_profiles/down.sql"));
    undo("0004", migration!("0004_session_epochs/down.sql"));
    let error = test.store.find_session(session.id).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaMismatch(_)), "{error:?}");
    undo("0003", migration!("0003_identities_and_providers/down.sql"));
    let reasons = "SELECT revoke_reason AS line FROM sessions WHERE revoke_reason IS NOT NULL";
    assert_eq!(test.lines(reasons), ["admin"], "a reason that the release before knows");
    assert_eq!(test.store.migrate().await.unwrap(), SINCE_THIRD);
    let after = test.dump().await;
    assert_eq!(after.rows("users"), before.rows("users"));
    assert_eq!(after.rows("external_identities"), before.rows("external_identities"));
    let again = found(&test, session.id).await;
    let claimed_roles = session.grant.roles.clone();
    assert_eq!(again, Session { claimed_roles, ..session });

    undo("0019", migration!("0019_session_engine/down.sql"));
    undo("0018", migration!("0018_former_ids/down.sql"));
    undo("0016", migration!("0016_revocations/down.sql"));
    undo("0015", migration!("0015_sealing_keys/down.sql"));
    undo("0014", migration!("0014_restore_epoch/down.sql"));
    undo("0012", migration!("0012_audit_log/down.sql"));
    undo("0011", migration!("0011_kept_access_tokens/down.sql"));
    undo("0010", migration!("0010_administration/down.sql"));
    undo("0009", migration!("0009_replica_keys/down.sql"));
    undo("0008", migration!("0008_kept_id_tokens/down.sql"));
    undo("0007", migration!("0007_replicas/down.sql"));
    undo("0005", migration!("0005_profiles/down.sql"));
    undo("0004", migration!("0004_session_epochs/down.sql"));
    undo("0003", migration!("0003_identities_and_providers/down.sql"));
    undo("0002", migration!("0002_session_life/down.sql"));
    let error = test.store.list_keys().await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaMismatch(_)), "{error:?}");
    undo("0001", migration!("0001_users_and_sessions/down.sql"));
    let error = test.store.find_user(&identity("ada")).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaMismatch(_)), "{error:?}");
}
