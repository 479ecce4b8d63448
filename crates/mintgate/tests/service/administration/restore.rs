//! A backup is restored, and `mintgate restore-done` ends what it has brought back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::options;
use crate::common::session::REFRESH;
use crate::common::{Store, TestService, assert_error};
use crate::on_both_stores;

const ENDED: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "SESSION_REVOKED");

impl TestService {
    /// Writes the audit log into a file, as an operator does on another machine.
    async fn export(&self, name: &str) -> PathBuf {
        let path = self.dir().join(name);
        let text = self.operate(&["audit", "export"]).await.done();
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Waits until this process has closed the database. The connections of a service that has stopped are
    /// closed on other threads, and the last one writes into the file.
    async fn until_store_is_closed(&self) {
        let file = self.sqlite_file();
        let is_open = || {
            let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
            open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|path| path == file)
        };
        for _ in 0..500 {
            if !is_open() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the database is open still");
    }

    async fn restore_done(&self, log: &Path) -> Value {
        let log = log.to_str().expect("a path");
        self.operate(&["restore-done", "--json", "--audit-log", log]).await.json()
    }
}

on_both_stores! {
    async fn every_session_ends_at_once_on_every_replica(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let replica = service.replica();
        let alice = service.signed_in().await;
        let alice = (service.refreshed(&alice.refresh).await, alice);
        let bob = service.signed_in_as("bob").await;

        let done = service.operate(&["restore-done", "--json"]).await.json();
        assert_eq!((&done["sessionsEnded"], &done["counted"]), (&json!(2), &json!(true)));
        assert_eq!(done["undone"], Value::Null);
        let (status, code) = ENDED;
        for token in [&alice.0.refresh, &alice.1.refresh, &bob.refresh] {
            service.refused(service.refresh(token), status, code).await;
            let asked = service.client.post(replica.url(REFRESH)).json(&json!({ "refreshToken": token }));
            assert_error(asked.send().await.unwrap(), status, code).await;
        }
        service.refused(service.me(&bob.access), status, code).await;
        let later = service.signed_in().await;
        service.refreshed(&later.refresh).await;

        let explained = service.operate(&["sessions", "explain", "--json", &bob.sid()]).await.json();
        assert_eq!(explained["endReason"], "restored");
        assert_eq!(explained["endedAt"], done["at"]);
        assert_eq!(explained["endedBy"]["kind"], "store_restored");
        assert_eq!(explained["endedBy"]["details"]["sessions_ended"], "2");
        let live = service.operate(&["sessions", "list", "--live", "--json", "bob"]).await.json();
        assert_eq!(live["sessions"], json!([]));
    }
}

/// A real backup of SQLite, made while the service runs, and put back.
#[tokio::test]
async fn what_a_restore_has_undone_is_listed_from_an_export() {
    let mut service = TestService::start_with(Store::Sqlite, options()).await;
    let (alice, bob) = (service.signed_in().await, service.signed_in_as("bob").await);
    let users = [service.user_id("alice").await, service.user_id("bob").await];
    service.operate(&["users", "grant", "bob", "auditor"]).await.done();
    service.noted("login", 2).await;
    let backup = service.dir().join("backup.db");
    service.sql(&format!("VACUUM INTO '{}'", backup.display()), "").await;
    let early = service.export("early.jsonl").await;

    service.operate(&["users", "disable", "alice"]).await.done();
    service.operate(&["users", "revoke-role", "bob", "auditor"]).await.done();
    service.operate(&["users", "disable", "bob"]).await.done();
    service.operate(&["users", "enable", "bob"]).await.done();
    let late = service.export("late.jsonl").await;
    service.refused(service.refresh(&alice.refresh), StatusCode::FORBIDDEN, "ACCESS_DENIED").await;

    service.ask_to_stop();
    service.wait_until_stopped();
    service.until_store_is_closed().await;
    let file = service.sqlite_file();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    std::fs::copy(&backup, &file).expect("a copy");
    service.restart();
    // The restore has signed her in again.
    let alice = service.refreshed(&alice.refresh).await;

    let foreign = service.dir().join("foreign.jsonl");
    let text = std::fs::read_to_string(&late).expect("a file");
    let head = text.lines().rfind(|line| line.contains("\"head\"")).expect("a head");
    let proof = head.split(':').next_back().expect("a proof").trim_matches(['"', '}']);
    let changed: String = text.lines().map(|line| changed_proof(line, proof) + "\n").collect();
    std::fs::write(&foreign, changed).expect("a file");
    for unusable in [foreign, service.dir().join("missing"), service.config_file()] {
        let log = unusable.to_str().expect("a path");
        service.operate(&["restore-done", "--audit-log", log]).await.refused();
    }
    let alice = service.refreshed(&alice.refresh).await;

    let done = service.restore_done(&late).await;
    let acts: Vec<_> =
        done["undone"].as_array().expect("acts").iter().map(|act| &act["command"]).collect();
    let [alices, bobs] = &users;
    assert_eq!(
        acts,
        [
            &json!(format!("mintgate users disable {alices}")),
            &json!(format!("mintgate users revoke-role {bobs} auditor")),
        ]
    );
    let (status, code) = ENDED;
    service.refused(service.refresh(&alice.refresh), status, code).await;
    service.refused(service.refresh(&bob.refresh), status, code).await;
    // One from before the backup has nothing that is lost.
    let done = service.restore_done(&early).await;
    assert_eq!((&done["lost"], &done["undone"]), (&Value::Null, &json!([])));
    let verdict = service.operate(&["audit", "verify", "--json"]).await.json();
    assert_eq!(verdict["clean"], true);
}

/// A line of an export with another proof.
fn changed_proof(line: &str, proof: &str) -> String {
    let mut value: Value = serde_json::from_str(line).expect("JSON");
    if value.get("proof").is_some() {
        value["proof"] = json!(proof);
    }
    value.to_string()
}
