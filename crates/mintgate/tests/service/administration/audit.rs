//! The audit log: what is in it, what it explains, what becomes of it without a table, and what tampering
//! with it shows.

use std::sync::Arc;
use std::time::Duration;

use mintgate_audit::{AuditTrail, AuditTrailPorts};
use mintgate_domain::SecretText;
use mintgate_domain::model::{Actor, AuditEvent, AuditKey, AuditKeys, AuditKind, Timestamp};
use mintgate_domain::ports::{AuditLog as _, AuditStore, Clock as _, Duties, NoMetrics};
use mintgate_store_postgres::{PgConfig, PgStore, Pooling};
use mintgate_store_sqlite::{SqliteConfig, SqliteStore};
use mintgate_testkit::{ManualClock, SeededEntropy};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Printed, mintgate, options};
use crate::common::{Options, Store, TestService, assert_error};
use crate::on_both_stores;

const KEY: &str = "the audit key of the tests, long enough";
const DAY: Duration = Duration::from_hours(24);

fn keyed() -> Options {
    let options = options();
    Options { more: format!("{}[audit]\nkey = \"{KEY}\"\n", options.more), ..options }
}

impl TestService {
    /// The entries once there are as many of this kind as said, and the head.
    pub(super) async fn noted(&self, kind: &str, count: usize) -> Vec<Value> {
        for _ in 0..200 {
            let rows = self.dump_of(vec!["audit_events"]).await;
            let rows = rows.rows("audit_events");
            let has = rows.iter().filter(|row| row.contains(kind)).count();
            if has >= count {
                return self.exported().await.0;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{count} times {kind} was never noted: {:?}", self.exported().await);
    }

    /// The entries and the head of an export.
    async fn exported(&self) -> (Vec<Value>, String) {
        let text = self.operate(&["audit", "export"]).await.done();
        let mut lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let head = lines.pop().expect("a head")["head"].as_str().expect("a head").to_owned();
        (lines, head)
    }

    async fn verify(&self, more: &[&str]) -> Printed {
        self.operate(&[&["audit", "verify", "--json"], more].concat()).await
    }

    async fn is_clean(&self) {
        let verdict = self.verify(&[]).await.json();
        assert_eq!(
            (&verdict["clean"], &verdict["keyed"]),
            (&json!(true), &json!(true)),
            "{verdict}"
        );
    }

    async fn is_red(&self, more: &[&str], what: &str) {
        let printed = self.verify(more).await;
        let verdict: Value = serde_json::from_str(&printed.out).expect("JSON");
        assert_eq!((printed.code, &verdict["clean"]), (1, &json!(false)), "{what}: {verdict}");
        assert!(verdict["fault"].is_string(), "{what}: {verdict}");
    }

    /// The same statement on both stores.
    async fn tamper(&self, statement: &str) {
        self.sql(statement, statement).await;
    }

    /// The audit log of another process on this store, at another time.
    fn other_process(&self, clock: &Arc<ManualClock>) -> AuditTrail {
        let url = self.store_url();
        if let Some(path) = url.strip_prefix("sqlite://") {
            let busy_timeout = Duration::from_secs(10);
            let config = SqliteConfig { path: path.into(), busy_timeout };
            trail(SqliteStore::open(&config, Arc::new(NoMetrics), clock.clone()).unwrap(), clock)
        } else {
            let config = PgConfig {
                url: SecretText::new(url),
                pool_size: 2,
                connect_timeout: Duration::from_secs(10),
                statement_timeout: Duration::from_secs(10),
                pooling: Pooling::Session,
            };
            trail(PgStore::connect(&config, Arc::new(NoMetrics), clock.clone()).unwrap(), clock)
        }
    }
}

fn trail<S: AuditStore + Duties + 'static>(store: S, clock: &Arc<ManualClock>) -> AuditTrail {
    let store = Arc::new(store);
    let current = AuditKey::derived(&SecretText::new(KEY));
    AuditTrail::new(AuditTrailPorts {
        store: store.clone(),
        duties: store,
        keys: AuditKeys { current, former: vec![] },
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(7)),
        metrics: Arc::new(NoMetrics),
    })
}

fn now() -> Timestamp {
    mintgate::system::SystemClock::new().now().into()
}

fn of_kind<'a>(entries: &'a [Value], kind: &str) -> &'a Value {
    entries.iter().rfind(|entry| entry["kind"] == kind).expect("an entry of this kind")
}

on_both_stores! {
    async fn what_happens_is_noted_with_who_did_it_from_where_and_in_which_request(store: Store) {
        let service = TestService::start_with(store, keyed()).await;
        let request = service.post(&crate::common::bare(&service.code_for("alice")));
        let answer = request.header("x-request-id", "login-of-alice").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let tokens = service.signed_in().await;
        let user = service.user_id("alice").await;
        service.operate(&["users", "grant", "alice", "auditor"]).await.done();
        let path = service.ops_url(&format!("/admin/v1/sessions/{}", tokens.sid()));
        let ended = service.client.delete(path).bearer_auth("writer").send().await.unwrap();
        assert_eq!(ended.status(), StatusCode::OK);
        service.operate(&["users", "disable", "alice"]).await.done();
        let answer = service.login(&service.code_for("alice")).await;
        assert_error(answer, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
        let entries = service.noted("login_denied", 1).await;
        let login = entries.iter().find(|entry| entry["requestId"] == "login-of-alice").unwrap();
        assert_eq!((&login["kind"], &login["actor"], &login["user"]), (&json!("login"), &json!("user"), &json!(user)));
        assert_eq!((&login["network"], &login["details"]["provider"]), (&json!("127.0.0.0/24"), &json!("corp")));
        assert_eq!(login["traceId"].as_str().unwrap().len(), 32);
        let granted = of_kind(&entries, "role_granted");
        assert_eq!((&granted["actor"], &granted["details"]["role"]), (&json!("operator:unknown"), &json!("auditor")));
        let ended = of_kind(&entries, "session_ended");
        assert_eq!((&ended["actor"], &ended["session"]), (&json!("token:on call"), &json!(tokens.sid())));
        assert_eq!(of_kind(&entries, "user_disabled")["user"], user);
        let denied = of_kind(&entries, "login_denied");
        assert!(denied["details"]["reason"].as_str().unwrap().contains("disabled"), "{denied}");
        let numbers: Vec<_> = entries.iter().map(|entry| entry["sequence"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted() && numbers[0] == 1, "{numbers:?}");
        service.is_clean().await;
        let after = service.operate(&["audit", "export", "--after", "2"]).await.done();
        assert!(after.lines().next().unwrap().contains("\"sequence\":3"), "{after}");
    }

    async fn why_is_answered_also_for_what_only_the_audit_log_knows(store: Store) {
        let service = TestService::start_with(store, keyed()).await;
        let logged_out = service.signed_in().await;
        let disabled = service.signed_in().await;
        let log_out = service.log_out(&logged_out.access).header("x-request-id", "chosen-by-a-caller");
        log_out.send().await.unwrap();
        let user = service.user_id("alice").await;
        service.noted("logout", 1).await;
        let explained = service.operate(&["sessions", "explain", "--json", &logged_out.sid()]).await.json();
        assert_eq!(explained["endedBy"]["requestId"], "chosen-by-a-caller");
        assert_eq!(explained["endedBy"]["network"], "127.0.0.0/24");

        service.operate(&["users", "delete", "--yes", "alice"]).await.done();
        service.tamper("DELETE FROM deleted_sessions").await;
        for (sid, reason) in [(logged_out.sid(), "logout"), (disabled.sid(), "user_deleted")] {
            let explained = service.operate(&["sessions", "explain", "--json", &sid]).await.json();
            assert_eq!((&explained["state"], &explained["endReason"]), (&json!("gone"), &json!(reason)), "{explained}");
            assert_eq!(explained["user"], user);
            service.operate(&["sessions", "explain", &sid]).await.done();
        }
        // Somebody else has chosen the same id.
        service.log_out(&service.signed_in_as("bob").await.access)
            .header("x-request-id", "chosen-by-a-caller").send().await.unwrap();
        service.noted("logout", 2).await;
        let found = service.operate(&["explain", "--json", "chosen-by-a-caller"]).await.json();
        let found = found["entries"].as_array().unwrap();
        assert_eq!(found.len(), 2, "all that carry it");
        assert_ne!(found[0]["traceId"], found[1]["traceId"], "our own id tells them apart");
        let path = service.ops_url("/admin/v1/requests/chosen-by-a-caller/explain");
        let answer = service.client.get(path).bearer_auth("reader").send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["entries"].as_array().unwrap().len(), 2);
        service.operate(&["explain", "no-such-request"]).await.refused();
    }

    async fn why_somebody_has_a_role_or_was_denied_is_told(store: Store) {
        let service = TestService::start_with(store, keyed()).await;
        service.signed_in().await;
        service.operate(&["users", "grant", "alice", "auditor"]).await.done();
        service.signed_in().await;
        service.operate(&["users", "disable", "alice"]).await.done();
        service.login(&service.code_for("alice")).await;
        service.noted("login_denied", 1).await;
        let explained = service.operate(&["users", "explain", "--json", "alice"]).await.json();
        let roles = explained["roles"].as_array().unwrap();
        let auditor = roles.iter().find(|role| role["role"] == "auditor").unwrap();
        assert_eq!((&auditor["granted"], &auditor["grantedBy"]["actor"]), (&json!(true), &json!("operator:unknown")));
        assert_eq!(explained["denied"].as_array().unwrap().len(), 1);
        assert_eq!(explained["disabledBy"]["kind"], "user_disabled");
        let text = service.operate(&["users", "explain", "alice"]).await.done();
        assert!(text.contains("auditor: granted") && text.contains("disabled"), "{text}");
    }

    async fn without_the_table_people_sign_in_rights_are_taken_and_none_are_given(store: Store) {
        let service = TestService::start_with(store, keyed()).await;
        let first = service.signed_in().await;
        service.noted("login", 1).await;
        service.tamper("ALTER TABLE audit_events RENAME TO audit_events_gone").await;
        let second = service.signed_in().await;
        let second = service.refreshed(&second.refresh).await;
        let user = service.user_id("alice").await;
        let grant = service.ops_url(&format!("/admin/v1/users/{user}/roles/auditor"));
        let answer = service.client.put(&grant).bearer_auth("writer").send().await.unwrap();
        assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
        let refused = service.operate(&["users", "grant", "alice", "auditor"]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("nothing was changed"), "{refused:?}");
        let end = service.ops_url(&format!("/admin/v1/sessions/{}", first.sid()));
        let answer = service.client.delete(end).bearer_auth("writer").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        service.refused(service.refresh(&first.refresh), StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        service.tamper("ALTER TABLE audit_events_gone RENAME TO audit_events").await;
        let entries = service.noted("session_ended", 1).await;
        let kinds: Vec<_> = entries.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "login").count(), 2, "{kinds:?}");
        assert!(!kinds.contains(&"role_granted"), "{kinds:?}");
        let granted = service.client.put(&grant).bearer_auth("writer").send().await.unwrap();
        assert_eq!(granted.status(), StatusCode::OK);
        service.refreshed(&second.refresh).await;
        service.is_clean().await;
    }

    async fn ordinary_life_leaves_the_log_clean(store: Store) {
        let service = TestService::start_with(store, keyed()).await;
        // Two processes at once, one with a clock that is 90 seconds behind.
        let clock = Arc::new(ManualClock::at(now() - DAY * 179));
        let behind = service.other_process(&clock);
        for _ in 0..20 {
            behind.record(AuditEvent::new(AuditKind::Login, clock.now().into(), Actor::User));
        }
        behind.flush().await.unwrap();
        clock.set(now() - Duration::from_secs(90));
        let many = async {
            for _ in 0..50 {
                for _ in 0..10 {
                    behind.record(AuditEvent::new(AuditKind::Login, clock.now().into(), Actor::User));
                }
                behind.flush().await.unwrap();
            }
        };
        let signing_in = async {
            for _ in 0..10 {
                service.signed_in().await;
            }
        };
        tokio::join!(many, signing_in);
        service.signed_in_as("bob").await;
        service.noted("login", 531).await;
        service.is_clean().await;
        // What is old is deleted.
        clock.set(now() + DAY * 2);
        behind.tend(DAY * 180).await.unwrap();
        let (entries, _) = service.exported().await;
        assert_eq!(entries[0]["sequence"], 21);
        assert_eq!(of_kind(&entries, "entries_pruned")["details"]["through"], "20");
        service.is_clean().await;
        // Somebody is erased, also from what waits.
        let id = service.user_id("alice").await;
        service.operate(&["users", "delete", "--yes", "alice"]).await.done();
        service.is_clean().await;
        let (entries, _) = service.exported().await;
        for entry in entries.iter().filter(|entry| entry["user"] == json!(id)) {
            for member in ["subject", "network", "userAgent"] {
                assert_eq!(entry[member], Value::Null, "{entry}");
            }
        }
        let text = serde_json::to_string(&entries).unwrap().to_lowercase();
        assert!(!text.contains("alice") && text.contains("bob"), "{text}");
    }

    async fn tampering_is_found(store: Store) {
        let service = TestService::start_with(store, keyed()).await;
        for _ in 0..8 {
            service.signed_in().await;
        }
        service.noted("login", 8).await;
        service.is_clean().await;
        let (entries, head) = service.exported().await;
        let last = entries.last().unwrap()["sequence"].as_u64().unwrap();
        service.tamper("UPDATE audit_events SET actor = 'service' WHERE seq = 2").await;
        service.is_red(&[], "an edited row").await;
        service.tamper("UPDATE audit_events SET actor = 'user' WHERE seq = 2").await;
        service.is_clean().await;
        service.tamper("UPDATE audit_events SET network = '10.0.0.0/24' WHERE seq = 2").await;
        service.is_red(&[], "edited personal data").await;
        service.tamper("UPDATE audit_events SET network = '127.0.0.0/24' WHERE seq = 2").await;
        service.is_clean().await;
        let swap = async |a: u64, b: u64| {
            service.tamper(&format!("UPDATE audit_events SET seq = -1 WHERE seq = {a}")).await;
            service.tamper(&format!("UPDATE audit_events SET seq = {a} WHERE seq = {b}")).await;
            service.tamper(&format!("UPDATE audit_events SET seq = {b} WHERE seq = -1")).await;
        };
        swap(3, 4).await;
        service.is_red(&[], "reordered rows").await;
        swap(3, 4).await;
        service.is_clean().await;

        service.tamper("CREATE TABLE kept AS SELECT * FROM audit_events").await;
        service.tamper("DELETE FROM audit_events WHERE seq = 5").await;
        service.is_red(&[], "a removed row").await;
        service.tamper("DELETE FROM audit_events").await;
        service.tamper("INSERT INTO audit_events SELECT * FROM kept").await;
        service.is_clean().await;
        service.tamper("UPDATE audit_events SET subject = NULL, network = NULL, user_agent = NULL, salt = NULL WHERE seq = 5").await;
        service.is_red(&[], "wiped personal data").await;
        service.tamper("DELETE FROM audit_events").await;
        service.tamper("INSERT INTO audit_events SELECT * FROM kept").await;

        let cut = last - 5;
        service.tamper(&format!("DELETE FROM audit_events WHERE seq > {cut}")).await;
        service.is_red(&[], "a cut tail").await;
        let to_the_cut = format!(
            "UPDATE audit_head SET seq = {cut}, mac = (SELECT mac FROM audit_events WHERE seq = {cut})"
        );
        service.tamper(&to_the_cut).await;
        service.is_red(&[], "a cut tail with another head").await;
        service.is_red(&["--head", &head], "a cut tail against the exported head").await;

        // Everything written anew, with a key of the attacker's.
        service.sql(
            "DELETE FROM audit_events; UPDATE audit_head SET seq = 0, mac = zeroblob(32), proof = zeroblob(32)",
            "DELETE FROM audit_events; UPDATE audit_head SET seq = 0, mac = decode(repeat('00', 32), 'hex'), \
             proof = decode(repeat('00', 32), 'hex')",
        ).await;
        service.is_red(&["--head", &head], "an emptied log against the exported head").await;
        let config = std::fs::read_to_string(service.config_file()).unwrap();
        let theirs = service.dir().join("theirs.toml");
        std::fs::write(&theirs, config.replace(KEY, "the key of whoever has the database, long")).unwrap();
        for _ in 0..last {
            mintgate(&theirs, &["users", "export", "alice"]).await.done();
        }
        mintgate(&theirs, &["audit", "verify"]).await.done();
        service.is_red(&[], "a rewritten log").await;
        service.is_red(&["--head", &head], "a rewritten log against the exported head").await;
    }
}
