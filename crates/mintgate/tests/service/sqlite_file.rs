//! The SQLite file as operators have it: copied while the service runs, read for long, mounted into a container.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::common::process::Process;
use crate::common::session::{ME, REFRESH, refresh_cookie};
use crate::common::{Options, Store, TestService, log};

/// As the store has it, in bytes.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;

#[tokio::test]
async fn a_backup_under_refreshes_holds_every_session_and_can_be_served() {
    let service = Arc::new(TestService::start(Store::Sqlite).await);
    let mut acknowledged = vec![];
    for user in ["alice", "bob", "carol", "dave", "erin", "frank"] {
        acknowledged.push(service.signed_in_as(user).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let refreshing = acknowledged[2..].iter().map(|tokens| {
        let (service, stop, mut token) =
            (Arc::clone(&service), Arc::clone(&stop), tokens.refresh.clone());
        tokio::spawn(async move {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                token = service.refreshed(&token).await.refresh;
                rounds += 1;
            }
            rounds
        })
    });
    let refreshing: Vec<_> = refreshing.collect();
    let copy = service.dir().join("copy.db");
    let path = copy.to_str().expect("a path");
    let printed = service.operate(&["backup", path]).await.done();
    stop.store(true, Ordering::Relaxed);
    for rounds in join_all(refreshing).await {
        assert!(rounds.expect("no refresh fails") > 0);
    }

    let mode = std::fs::metadata(&copy).expect("the copy").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let size = std::fs::metadata(&copy).expect("the copy").len();
    assert!(printed.contains(&size.to_string()) && printed.contains("restore-done"), "{printed}");
    let again = service.operate(&["backup", path]).await.refused();
    assert!(again.contains(path), "{again}");
    assert_eq!(std::fs::metadata(&copy).expect("the copy").len(), size);
    let left = service.dir().read_dir().expect("a directory").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");

    let config = service.config_with(|text| text.replace("test.db", "copy.db"));
    let text = std::fs::read_to_string(config).expect("a file");
    let restored = Process::replica(&text).await;
    let client = reqwest::Client::new();
    for tokens in &acknowledged {
        let me = client.get(format!("http://{}{ME}", restored.public)).bearer_auth(&tokens.access);
        assert_eq!(me.send().await.expect("an answer").status(), StatusCode::OK);
    }
    for tokens in &acknowledged[..2] {
        let refresh = client.post(format!("http://{}{REFRESH}", restored.public));
        let refresh = refresh.header("cookie", refresh_cookie(&tokens.refresh));
        assert_eq!(refresh.send().await.expect("an answer").status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_backup_of_what_is_no_database_of_ours_leaves_nothing_behind() {
    let service = TestService::start(Store::Sqlite).await;
    for (name, content) in [("empty.db", ""), ("notes.txt", "notes")] {
        std::fs::write(service.dir().join(name), content).expect("a file");
        let config = service.config_with(|text| text.replace("test.db", name));
        let copy = service.dir().join("copy.db");
        let copy = copy.to_str().expect("a path");
        let printed = crate::administration::mintgate(&config, &["backup", copy]).await;
        assert_eq!((printed.code, printed.out.as_str()), (1, ""), "{name}: {printed:?}");
        assert!(!Path::new(copy).exists(), "{name}");
        assert!(!service.dir().join("copy.db.partial").exists(), "{name}");
    }
    let config = service.config_with(|text| text.replace("test.db", "missing.db"));
    let copy = service.dir().join("copy.db");
    let copy = copy.to_str().expect("a path");
    let printed = crate::administration::mintgate(&config, &["backup", copy]).await;
    assert_eq!(printed.code, 1);
    assert!(printed.err.contains("store.url"), "{printed:?}");
    assert!(!service.dir().join("missing.db").exists());
}

/// What the metrics say of the size of the write-ahead log.
async fn log_bytes(service: &TestService) -> u64 {
    let text = service.metrics().await;
    let line = text.lines().find_map(|line| line.strip_prefix("mintgate_store_wal_bytes "));
    line.expect("the series").parse().expect("a number")
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    for _ in 0..300 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_long_log_is_told_and_cut_when_its_reader_has_gone() {
    log::keep();
    let service = TestService::start(Store::Sqlite).await;
    let mut tokens = service.signed_in().await;
    let file = service.sqlite_file();
    let file = file.to_str().expect("a path");
    let mut reader = SqliteConnection::establish(file).expect("the database");
    reader.batch_execute("BEGIN; SELECT count(*) FROM sessions").expect("a transaction");
    let write = "CREATE TABLE filler (bytes BLOB);
        WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 80)
        INSERT INTO filler SELECT zeroblob(1000000) FROM n";
    service.sql(write, "").await;
    let told = |message: &str| {
        let path = format!("{file}-wal");
        log::lines()
            .filter(|line| line["path"] == path.as_str())
            .any(|line| line["message"].as_str().is_some_and(|text| text.contains(message)))
    };
    let is_told = async || {
        service.sql("UPDATE filler SET bytes = zeroblob(10)", "").await;
        log_bytes(&service).await > LOG_LIMIT && told("past its limit")
    };
    until("the log is long", is_told).await;
    for _ in 0..20 {
        tokens = service.refreshed(&tokens.refresh).await;
    }
    let size = || std::fs::metadata(format!("{file}-wal")).expect("the log").len();
    assert!(size() > LOG_LIMIT, "a reader holds it");

    drop(reader);
    until("the log is short", async || {
        // SQLite by itself would cut it to the limit.
        size() < LOG_LIMIT / 8 && log_bytes(&service).await < LOG_LIMIT / 8
    })
    .await;
    until("it is told", async || told("short again")).await;
    service.refreshed(&tokens.refresh).await;
}

/// A bind mount of the one file, as `docker run -v …/mintgate.db:/data/mintgate.db` makes it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_is_a_mount_point_is_refused_at_the_start() {
    let service = TestService::start_with(Store::Sqlite, Options::default()).await;
    let file = service.dir().join("mounted.db");
    std::fs::write(&file, "").expect("a file");
    let config = service.config_with(|text| text.replace("test.db", "mounted.db"));
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.arg(env!("CARGO_BIN_EXE_mintgate")).arg(&file).arg(&config);
        command.output()
    };
    let can_mount = in_namespace("mount --bind \"$1\" \"$1\"");
    if !can_mount.is_ok_and(|output| output.status.success()) {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests has to know")]
        let () = eprintln!("SKIPPED: nothing can be mounted here");
        return;
    }
    let output =
        in_namespace("mount --bind \"$1\" \"$1\" && exec timeout 30 \"$0\" --config \"$2\" serve");
    let output = output.expect("it runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    let line = err.lines().last().expect("a line");
    assert!(line.contains("mounted.db") && line.contains("mount its directory"), "{err}");
}
