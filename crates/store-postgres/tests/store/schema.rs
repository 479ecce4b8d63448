//! Migrations, and what a schema or a row that does not fit is called.

use crate::harness::{
    PATIENCE, config, empty, fresh_store, names_from, session, somebody_waits_for_a_lock, store,
    undo_from,
};
use mintgate_domain::SecretText;
use mintgate_domain::chain;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::{KeyRepo, OpenOutcome, StoreError, StoreHealth, UserDirectory};
use mintgate_testkit::StoreCalls;
use mintgate_testkit::StoreUnderTest;
use mintgate_testkit::openings::{NOW, Openings, identity, single_use};

#[tokio::test]
async fn an_empty_database_is_planned_migrated_and_then_current() {
    let database = empty().await;
    let store = store(&config(database.url()));
    let all = names_from("0001");
    let lacks = StoreError::SchemaMismatch(format!("it lacks {}", all.join(", ")).into());

    assert_eq!(store.pending_migrations().await.unwrap(), all);
    assert_eq!(store.check().await, Err(lacks.clone()));
    assert_eq!(store.find_user(&identity("ada")).await, Err(lacks.clone()));
    let opening = Openings::default().new_user(identity("ada"));
    assert_eq!(store.open_session(&opening).await, Err(lacks));
    let tables = "SELECT FROM pg_tables WHERE schemaname = 'public'";
    let admin = database.client().await;
    assert!(admin.query(tables, &[]).await.unwrap().is_empty(), "a plan changes nothing");

    assert_eq!(store.migrate(PATIENCE, &|_| ()).await.unwrap(), all);
    assert_eq!(store.pending_migrations().await.unwrap(), [""; 0]);
    assert_eq!(store.migrate(PATIENCE, &|_| ()).await.unwrap(), [""; 0]);
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Opened));
}

#[tokio::test]
async fn replicas_that_migrate_at_once_take_turns() {
    let database = empty().await;
    let replicas: Vec<_> = (0..6).map(|_| store(&config(database.url()))).collect();
    let runs = replicas.iter().map(|replica| replica.migrate(PATIENCE, &|_| ()));
    let runs = futures_util::future::try_join_all(runs).await.unwrap();
    assert_eq!(runs.concat(), names_from("0001"));
    assert_eq!(replicas[0].check().await, Ok(()));
}

#[tokio::test]
async fn a_schema_that_is_newer_is_served() {
    let test = fresh_store().await;
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')";
    test.admin.batch_execute(newer).await.unwrap();
    assert_eq!(test.store.check().await, Ok(()));
}

#[tokio::test]
async fn the_migrations_can_be_undone() {
    let test = fresh_store().await;
    undo_from(&test.admin, "0001").await;
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    let left = test.admin.query(tables, &[]).await.unwrap();
    let left: Vec<&str> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["__diesel_schema_migrations"]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_called_corrupt_by_its_column() {
    let test = fresh_store().await;
    let opening = Openings::default().new_user(identity("ada"));
    test.store.open_session(&opening).await.unwrap();
    test.admin
        .batch_execute("ALTER TABLE users DROP CONSTRAINT users_granted_roles_check")
        .await
        .unwrap();
    for (change, column) in [
        ("granted_roles = ARRAY['secret-role', NULL]", "granted_roles holds a null"),
        ("granted_roles = '{}', disabled_at = 'infinity'", "disabled_at is out of range"),
    ] {
        test.admin.batch_execute(&format!("UPDATE users SET {change}")).await.unwrap();
        let corrupt = StoreError::Corrupt(column.into());
        assert_eq!(test.store.find_user(&identity("ada")).await, Err(corrupt));
    }
}

#[tokio::test]
async fn a_session_or_key_that_cannot_be_read_is_called_corrupt_by_its_column() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let session = session(&test.store, &openings, "ada").await;
    let record = KeyRecord {
        key_use: KeyUse::Access,
        number: 1,
        id: KeyId::new("access-1"),
        material: SecretText::new("secret-material"),
        created_at: NOW,
        activates_at: None,
    };
    assert_eq!(test.store.add_key(&record).await, Ok(true));
    let rules = "SELECT conrelid::regclass::text, conname FROM pg_constraint
        WHERE contype = 'c' AND conrelid = 'signing_keys'::regclass";
    for rule in test.admin.query(rules, &[]).await.unwrap() {
        let (table, name): (String, String) = (rule.get(0), rule.get(1));
        let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {name}");
        test.admin.batch_execute(&drop).await.unwrap();
    }
    for (change, column) in [
        ("gen = -1", "gen cannot be read"),
        ("cur_hash = '\\x00'", "cur_hash cannot be read"),
        ("cur_iat = 'infinity'", "cur_iat is out of range"),
        ("prev_hash = '\\x00', rotated_at = now()", "prev_hash cannot be read"),
        ("prev_hash = cur_hash", "rotated_at cannot be read"),
        (
            "prev_hash = cur_hash, rotated_at = now(), prev_replays = -1",
            "prev_replays cannot be read",
        ),
        ("user_epoch = -1", "user_epoch cannot be read"),
        ("identity_epoch = -1", "identity_epoch cannot be read"),
        ("roles = ARRAY['secret-role', NULL]", "roles holds a null"),
        ("claimed_roles = ARRAY[NULL, 'secret-role']", "claimed_roles holds a null"),
        ("amr = ARRAY[NULL, 'secret-amr']", "amr holds a null"),
        ("extra_claims = '[\"secret-claim\"]'", "extra_claims cannot be read"),
        ("extra_claims = '{\"secret-claim\": 1e999}'", "extra_claims cannot be read"),
    ] {
        test.admin.batch_execute("CREATE TABLE kept AS TABLE sessions").await.unwrap();
        test.admin.batch_execute(&format!("UPDATE sessions SET {change}")).await.unwrap();
        let corrupt = StoreError::Corrupt(column.into());
        assert_eq!(test.store.find_session(session.id).await, Err(corrupt), "{change}");
        let restore = "DELETE FROM sessions; INSERT INTO sessions TABLE kept; DROP TABLE kept";
        test.admin.batch_execute(restore).await.unwrap();
    }
    for (change, column) in [
        ("key_use = 'access', number = -1", "number cannot be read"),
        ("number = 1, activates_at = '-infinity'", "activates_at is out of range"),
    ] {
        test.admin.batch_execute(&format!("UPDATE signing_keys SET {change}")).await.unwrap();
        let corrupt = StoreError::Corrupt(column.into());
        assert_eq!(test.store.list_keys().await, Err(corrupt));
    }
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_refused_by_the_name_of_the_rule_alone() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let mut beyond_time = openings.new_user(identity("ada"));
    beyond_time.session.created_at = Timestamp::from_unix(i64::MAX);
    let too_long = openings.new_user(identity(&"a".repeat(256)));
    let mut no_issuer = openings.new_user(identity("ada"));
    no_issuer.session.identity.issuer.clear();
    for (opening, rule) in [
        (beyond_time, "a time to be stored is out of range"),
        (too_long, "external_identities_subject_check"),
        (no_issuer, "a row was refused by external_identities_issuer_check"),
    ] {
        let refused = test.store.open_session(&opening).await.unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
        assert!(chain(&refused).to_string().contains(rule), "{refused:?}");
    }
    assert_eq!(test.dump().await.counts(), [0; 4], "nothing is left behind");
}

#[tokio::test]
async fn case_32_a_sign_in_waits_for_the_operator_who_is_disabling_the_user() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let first = openings.new_user(identity("ada"));
    test.store.open_session(&first).await.unwrap();
    let before = test.dump().await;

    let mut operator = test.database.client().await;
    let disabling = operator.transaction().await.unwrap();
    disabling.batch_execute("UPDATE users SET disabled_at = '2026-01-01'").await.unwrap();
    let mut opening = openings.existing(first.user_id());
    opening.single_use = Some(single_use("ada"));
    let call = async { test.store.open_session(&opening).await };
    let commit = async {
        somebody_waits_for_a_lock(&test.admin).await;
        disabling.commit().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(call, commit);
    assert_eq!(outcome, Ok(OpenOutcome::PersonChanged));
    assert_eq!(test.dump().await.counts(), before.counts());
    assert_eq!(test.store.open_session(&opening).await, Ok(OpenOutcome::PersonChanged));
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_not_usable() {
    let test = fresh_store().await;
    let unusable = async |url: String| {
        let checked = store(&config(url)).check().await;
        assert!(matches!(checked, Err(StoreError::Unavailable(_))), "{checked:?}");
    };
    let url = test.database.url();
    let separator = if url.contains('?') { '&' } else { '?' };
    let read_only = "options=-c%20default_transaction_read_only%3Don";
    unusable(format!("{url}{separator}{read_only}")).await;

    let role = format!("reader_{}", std::process::id());
    let grant = format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT INSERT, UPDATE ON users, external_identities TO {role}"
    );
    test.admin.batch_execute(&grant).await.unwrap();
    let with_role = format!("{url}{separator}options=-c%20role%3D{role}");
    unusable(with_role.clone()).await;
    let rest = format!("GRANT INSERT, UPDATE (gen) ON sessions TO {role}");
    let granted = test.admin.batch_execute(&rest).await;
    let checked = store(&config(with_role)).check().await;
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    test.admin.batch_execute(&drop).await.unwrap();
    granted.unwrap();
    assert_eq!(checked, Ok(()));
}
