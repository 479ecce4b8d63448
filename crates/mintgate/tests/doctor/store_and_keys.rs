//! The store and the signing keys.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use mintgate::commands;
use mintgate::settings::Settings;
use mintgate_doctor::{DoctorCommand, Verdict};
use mintgate_mock_idp::MockConfig;
use mintgate_testkit::pgbouncer::PgBouncer;

use crate::rig::{Late, Rig, database, free_addresses};

/// Changes the database past the service.
pub(crate) fn sqlite(rig: &Rig, statements: &str) {
    let mut connection = SqliteConnection::establish(rig.database().to_str().unwrap()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    connection.batch_execute(statements).unwrap();
}

#[tokio::test]
async fn a_good_installation_on_a_file_has_good_findings_alone() {
    let rig = Rig::start().await;
    let said = rig.doctor().await;
    assert_eq!((said.wrong(), said.cannot_be_told()), (vec![], vec![]), "{said:#?}");
    assert_eq!(said.code, 0);
    for check in ["store.reachable", "store.schema", "store.writable", "keys.shared"] {
        assert_eq!(said.of(check).len(), 1, "{said:#?}");
    }
}

#[tokio::test]
async fn a_good_installation_on_postgres_has_good_findings_alone() {
    let Some(database) = database().await else { return };
    let rig = Rig::start_on(&database).await;
    let said = rig.doctor().await;
    assert_eq!((said.wrong(), said.cannot_be_told()), (vec![], vec![]), "{said:#?}");
    assert_eq!(said.code, 0);
    assert_eq!(said.of("store.clock").len(), 1, "{said:#?}");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_ends_with_status_2() {
    let rig = Rig::prepare(MockConfig::default(), None).await;
    let output = rig.command("[store]\nurl = \"mysql://x\"\n", &["doctor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_database_file_that_is_not_there_is_found_and_not_made() {
    let rig = Rig::prepare(MockConfig::default(), None).await;
    rig.doctor().await.must_only_find("store.reachable");
    assert!(!rig.database().exists() && !rig.dir().join("keys").exists());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_found() {
    let rig = Rig::prepare(MockConfig::default(), None).await;
    std::fs::write(rig.database(), "this is no database, and longer than a header of one").unwrap();
    std::fs::set_permissions(rig.database(), PermissionsExt::from_mode(0o600)).unwrap();
    rig.doctor().await.must_only_find("store.reachable");
}

#[tokio::test]
async fn a_postgres_that_does_not_listen_is_found() {
    let rig = Rig::prepare(MockConfig::default(), Some("postgres://u:pw-x@127.0.0.1:9/d".into()));
    let said = rig.await.doctor().await;
    said.must_only_find("store.reachable");
    assert!(!format!("{}{}", said.out, said.err).contains("pw-x"));
}

#[tokio::test]
async fn a_schema_that_lacks_migrations_is_found() {
    let mut rig = Rig::start().await;
    rig.stop();
    sqlite(&rig, "DELETE FROM __diesel_schema_migrations WHERE version = '0001'");
    rig.doctor().await.must_only_find("store.schema");
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_found() {
    let Some(database) = database().await else { return };
    let mut rig = Rig::start_on(&database).await;
    rig.stop();
    let name = database.url().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database.client().await.batch_execute(&read_only).await.unwrap();
    rig.doctor().await.must_only_find("store.writable");
}

/// The service has its own lock on the file, in another process.
#[tokio::test]
async fn a_file_that_another_program_holds_locked_is_found() {
    let rig = Rig::start().await;
    let mut other = SqliteConnection::establish(rig.database().to_str().unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    let text = rig.text.replace("[keys]", "statement_timeout_ms = 300\n[keys]");
    rig.doctor_of(&text, &[]).await.must_only_find("store.writable");
}

#[tokio::test]
async fn a_clock_that_differs_from_the_databases_is_found() {
    let Some(database) = database().await else { return };
    let rig = Rig::start_on(&database).await;
    let settings = Settings::from_toml(&rig.text).unwrap();
    let installation = commands::installation(settings, Arc::new(Late)).await;
    let report = DoctorCommand::default().run(&installation).await;
    let clock = report.findings.iter().find(|finding| finding.check == "store.clock").unwrap();
    assert_eq!(clock.verdict, Verdict::Wrong);
    assert!(clock.what.contains("120 s ahead") || clock.what.contains("119 s ahead"), "{clock:?}");
}

#[tokio::test]
async fn a_pooler_by_transaction_that_is_configured_as_one_by_session_is_found() {
    let Some(database) = database().await else { return };
    let Some(program) = PgBouncer::program() else { return };
    let pooler = PgBouncer::start(&program, &database.url(), "transaction", 5).await;
    let rig = Rig::start_on(&database).await;
    let through = rig.text.replace(&database.url(), &pooler.url(&database.url()));
    for right in ["transaction", "auto"] {
        let text = through.replace("[keys]", &format!("pooling = \"{right}\"\n[keys]"));
        let said = rig.doctor_of(&text, &[]).await;
        assert_eq!((said.wrong(), said.cannot_be_told()), (vec![], vec![]), "{said:#?}");
    }
    // Last: what it prepares stays on the processes that it was lent.
    let session = through.replace("[keys]", "pooling = \"session\"\n[keys]");
    rig.doctor_of(&session, &[]).await.must_only_find("store.pooling");
}

#[tokio::test]
async fn a_pool_that_is_larger_than_the_server_allows_is_found() {
    let Some(database) = database().await else { return };
    let rig = Rig::start_on(&database).await;
    let text = rig.text.replace("[keys]", "pool_size = 1000\n[keys]");
    rig.doctor_of(&text, &[]).await.must_only_find("store.connections");
}

#[tokio::test]
async fn another_key_that_encrypts_the_signing_keys_is_found() {
    let rig = Rig::start().await;
    let other = rig.doctor_with("MDEyMzQ1", "AAEyMzQ1").await;
    other.must_only_find("keys.readable");
    assert!(!other.out.contains("AAEyMzQ1"), "{other:#?}");
}

#[tokio::test]
async fn keys_that_nobody_rotates_are_found() {
    let mut rig = Rig::start().await;
    rig.stop();
    sqlite(
        &rig,
        "UPDATE signing_keys SET activates_at = activates_at - 100 * 86400
        WHERE key_use = 'access' AND number = 1",
    );
    rig.doctor().await.must_only_find("keys.age");
}

#[tokio::test]
async fn a_key_directory_that_others_can_read_is_found() {
    let rig = Rig::start_with(MockConfig::default(), |text| {
        text.replace("encryption_key = ", "# encryption_key = ")
    })
    .await;
    let said = rig.doctor().await;
    assert_eq!((said.wrong(), said.cannot_be_told()), (vec![], vec![]), "{said:#?}");
    let keys = rig.dir().join("keys");
    std::fs::set_permissions(keys, PermissionsExt::from_mode(0o755)).unwrap();
    rig.doctor().await.must_only_find("keys.readable");
}

#[tokio::test]
async fn a_working_directory_without_the_keys_of_the_service_is_found() {
    let mut rig = Rig::start().await;
    rig.stop();
    let without = rig.text.replace("encryption_key = ", "# encryption_key = ");
    let said = rig.doctor_of(&without, &[]).await;
    assert_eq!(said.wrong(), Vec::<&str>::new(), "{said:#?}");
    assert!(said.cannot_be_told().contains(&"keys.readable"), "{said:#?}");
    assert!(!rig.dir().join("keys").exists());
}

#[tokio::test]
async fn a_configuration_with_other_keys_than_the_running_service_is_found() {
    let Some(database) = database().await else { return };
    let rig = Rig::start_on(&database).await;
    let mut beside = Rig::prepare(MockConfig::default(), Some("sqlite:///none".into())).await;
    let private = rig.text.replace("encryption_key = ", "# encryption_key = ");
    // Its keys are made on a store of its own.
    let own = format!("sqlite://{}/own.db", beside.dir().display());
    beside.text = private.replace(&database.url(), &own);
    let [public, ops] = free_addresses();
    beside.text = beside
        .text
        .replace(&format!("listen = \"{}\"", rig.public), &format!("listen = \"{public}\""));
    beside.text = beside.text.replace(&rig.ops.to_string(), &ops.to_string());
    beside.ops = ops;
    beside.migrate();
    beside.serve().await;
    rig.doctor_of(&private, &[]).await.must_only_find("keys.shared");
}

/// As after a second process has slept or lost the store for longer than it is waited for.
#[tokio::test]
async fn running_processes_with_different_keys_are_found() {
    let Some(database) = database().await else { return };
    let rig = Rig::start_on(&database).await;
    let other = "INSERT INTO replicas (id, name, issuer, access_kids, refresh_kids, known_since, seen_at)
        SELECT decode(repeat('0f', 16), 'hex'), 'host-2 (process 7)', issuer, ARRAY['x'], ARRAY['y'],
            clock_timestamp(), clock_timestamp() FROM replicas LIMIT 1";
    database.client().await.batch_execute(other).await.unwrap();
    let said = rig.doctor().await;
    said.must_only_find("keys.shared");
    assert!(said.out.contains("host-2 (process 7)"), "{said:#?}");
    // Also to somebody whose own keys cannot be read.
    let said = rig.doctor_with("MDEyMzQ1", "AAEyMzQ1").await;
    assert_eq!(said.wrong(), ["keys.readable", "keys.shared"], "{said:#?}");
}

#[tokio::test]
async fn keys_that_only_one_process_can_have_are_told_of_before_there_is_a_second() {
    let Some(database) = database().await else { return };
    let mut rig = Rig::prepare(MockConfig::default(), Some(database.url())).await;
    rig.text = rig.text.replace("encryption_key = ", "# encryption_key = ");
    rig.serve().await;
    let said = rig.doctor().await;
    assert_eq!((said.wrong(), said.cannot_be_told()), (vec![], vec!["keys.shared"]), "{said:#?}");
    assert_eq!(said.code, 0);
}

#[tokio::test]
async fn a_key_that_is_published_too_late_is_found() {
    let rig = Rig::start().await;
    rig.doctor_with("[cookies]", "publish_ahead_secs = 60\n[cookies]")
        .await
        .must_only_find("config.publish_ahead");
}

#[tokio::test]
async fn a_database_file_that_everybody_can_read_is_found() {
    let rig = Rig::start().await;
    std::fs::set_permissions(rig.database(), PermissionsExt::from_mode(0o644)).unwrap();
    rig.doctor().await.must_only_find("config.exposed_files");
}

#[tokio::test]
async fn an_admin_api_without_tls_is_found() {
    let rig = Rig::start().await;
    let ops = format!("[ops]\nlisten = \"{}\"", rig.ops);
    let open = format!(
        "[[admin.tokens]]\nname = \"a\"\nhash = \"{}\"\n[ops]\nlisten = \"0.0.0.0:{}\"",
        "0f".repeat(32),
        rig.ops.port()
    );
    rig.doctor_with(&ops, &open).await.must_only_find("config.admin_tls");
}

#[tokio::test]
async fn it_leaves_nothing_behind_and_the_service_does_not_notice() {
    let Some(database) = database().await else { return };
    let rig = Rig::start_on(&database).await;
    let client = database.client().await;
    let processes = async || {
        let count = client.query_one("SELECT count(*) FROM replicas", &[]).await.unwrap();
        count.get::<_, i64>(0)
    };
    assert_eq!(processes().await, 1);
    rig.doctor().await;
    assert_eq!(processes().await, 1);
    let events = client.query_one("SELECT count(*) FROM audit_events", &[]).await.unwrap();
    let before: i64 = events.get(0);
    rig.doctor().await;
    let events = client.query_one("SELECT count(*) FROM audit_events", &[]).await.unwrap();
    assert_eq!(events.get::<_, i64>(0), before);
}

#[tokio::test]
async fn people_read_the_same_findings_as_text() {
    let rig = Rig::start().await;
    let output =
        rig.command(&rig.text.replace("MDEyMzQ1", "AAEyMzQ1"), &["doctor"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let wrong: Vec<_> = text.lines().filter(|line| line.contains("WRONG")).collect();
    assert!(wrong.len() == 1 && wrong[0].contains("keys.readable"), "{text}");
    assert!(text.contains("Why: ") && text.contains("Fix: "), "{text}");
}
