//! Finding people, exporting and deleting them.

use serde_json::{Value, json};

use super::options;
use crate::common::{Store, TestService, claims};
use crate::on_both_stores;

/// The ids on a page.
fn ids(page: &Value) -> Vec<String> {
    let users = page["users"].as_array().expect("people");
    users.iter().map(|user| user["id"].as_str().expect("an id").to_owned()).collect()
}

on_both_stores! {
    async fn people_are_found_by_any_part_and_shown_as_text_or_json(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let alice = service.signed_in_as("alice").await;
        let bob = service.signed_in_as("bob").await;
        let sub = |access: &str| claims(access)["sub"].as_str().unwrap().to_owned();
        let (alice_id, bob_id) = (sub(&alice.access), sub(&bob.access));
        for (text, expected) in [
            ("@EXAMPLE.com", vec![&alice_id, &bob_id]),
            ("lice Adm", vec![&alice_id]),
            ("builder", vec![&bob_id]),
            (alice_id.as_str(), vec![&alice_id]),
            ("a_ice", vec![]),
            ("%", vec![]),
            ("*", vec![]),
            ("nobody", vec![]),
        ] {
            let found = service.operate(&["users", "find", "--json", text]).await.json();
            assert_eq!(ids(&found).iter().collect::<Vec<_>>(), expected, "{text}");
        }
        // Page by page.
        let first = service.operate(&["users", "list", "--json", "--limit", "1"]).await.json();
        assert_eq!(ids(&first), std::slice::from_ref(&alice_id));
        let next = first["next"].as_str().unwrap();
        let arguments = ["users", "list", "--json", "--limit", "1", "--after", next];
        let second = service.operate(&arguments).await.json();
        assert_eq!((ids(&second), &second["next"]), (vec![bob_id.clone()], &Value::Null));

        let shown = service.operate(&["users", "show", "--json", "alice@example.com"]).await.json();
        assert_eq!(shown["name"], "Alice Admin");
        assert_eq!(shown["identities"][0]["issuer"], service.idp().issuer());
        assert_eq!(shown["sessions"][0]["sid"], alice.sid());
        assert_eq!((&shown["sessions"][0]["state"], &shown["disabledAt"]), (&json!("live"), &Value::Null));
        let identity = format!("{} {}", shown["identities"][0]["issuer"].as_str().unwrap(),
            shown["identities"][0]["subject"].as_str().unwrap());
        for name in [alice_id.as_str(), &identity, "ALICE", "alice admin"] {
            let same = service.operate(&["users", "show", "--json", name]).await.json();
            assert_eq!(same["id"], alice_id, "{name}");
        }
        let text = service.operate(&["users", "show", &alice_id]).await.done();
        for part in [alice_id.as_str(), "Alice Admin", "alice@example.com", &alice.sid()] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    async fn a_name_that_is_not_one_persons_alone_changes_nothing(store: Store) {
        let service = TestService::start_with(store, options()).await;
        service.signed_in_as("alice").await;
        service.signed_in_as("bob").await;
        let before = service.dump().await;
        for command in [["users", "disable"], ["users", "enable"], ["sessions", "end-all"]] {
            let [group, act] = command;
            let refused = service.operate(&[group, act, "example.com"]).await.refused();
            assert!(refused.contains("Alice Admin") && refused.contains("Bob Builder"), "{refused}");
            // Part of one name alone is not enough to act.
            let refused = service.operate(&[group, act, "Builder"]).await.refused();
            assert!(refused.contains("Bob Builder") && !refused.contains("Alice"), "{refused}");
            service.operate(&[group, act, "nobody"]).await.refused();
            service.operate(&[group, act, "00000000-0000-7000-8000-000000000000"]).await.refused();
        }
        let printed = service.operate(&["users", "delete", "--yes", "--json", "example.com"]).await;
        assert_eq!(printed.code, 1);
        let body: Value = serde_json::from_str(&printed.out).unwrap();
        assert_eq!((&body["error"], ids(&json!({ "users": body["candidates"] })).len()), (&json!("ambiguous"), 2));
        service.operate(&["users", "grant", "bob@example.com", "bad,role"]).await.refused();
        assert_eq!(service.dump().await, before);
    }

    async fn an_export_has_everything_and_a_deletion_leaves_nothing_that_names_the_person(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let alice = service.signed_in_as("alice").await;
        let second = service.signed_in_as("alice").await;
        let bob = service.signed_in_as("bob").await;
        service.operate(&["sessions", "end", &second.sid()]).await.done();
        service.operate(&["users", "grant", "alice", "auditor"]).await.done();
        service.noted("login", 3).await;
        let export = service.operate(&["users", "export", "alice"]).await.json();
        let log = export["auditLog"].as_array().unwrap();
        let kinds: Vec<_> = log.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
        for (kind, count) in [("login", 2), ("session_ended", 1), ("role_granted", 1)] {
            assert_eq!(kinds.iter().filter(|it| **it == kind).count(), count, "{kinds:?}");
        }
        assert!(log.iter().all(|entry| entry["user"] == export["user"]["id"]), "{log:?}");
        assert_eq!(export["user"]["email"], "alice@example.com");
        assert_eq!(export["user"]["grantedRoles"], json!(["auditor"]));
        let sessions = export["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 2);
        assert_eq!((&sessions[0]["sid"], &sessions[0]["endReason"]), (&json!(second.sid()), &json!("admin")));
        assert_eq!((&sessions[1]["sid"], &sessions[1]["state"]), (&json!(alice.sid()), &json!("live")));
        // No token and no digest of one.
        let text = export.to_string();
        assert!(!text.contains(&alice.refresh) && !text.to_lowercase().contains("hash"), "{text}");

        let before = service.dump().await;
        let refused = service.operate(&["users", "delete", "alice"]).await.refused();
        assert!(refused.contains("--yes") && refused.contains("Alice Admin"), "{refused}");
        assert_eq!(service.dump().await, before, "a deletion that is not confirmed changes nothing");

        let id = service.user_id("alice").await;
        let said = service.operate(&["users", "delete", "--yes", "alice"]).await.done();
        assert!(said.contains(&id), "{said}");
        let dump = service.dump().await;
        assert_eq!(dump.rows("users").len(), 1);
        assert_eq!(dump.rows("sessions").len(), 1);
        assert_eq!(dump.rows("deleted_sessions").len(), 2);
        // The log of revocations tells other services the id, until the access tokens have expired.
        let apart = ["audit_events", "audit_head", "revocations"];
        let tables = mintgate_testkit::Dump::TABLES.into_iter();
        let tables = tables.filter(|table| !apart.contains(table)).collect();
        let left = format!("{:?}", service.dump_of(tables).await).to_lowercase();
        assert!(!format!("{dump:?}").to_lowercase().contains("alice"));
        let hex = id.replace('-', "");
        for part in ["alice", id.as_str(), hex.as_str()] {
            assert!(!left.contains(part), "{part}: {left}");
        }
        let explained = service.operate(&["sessions", "explain", "--json", &alice.sid()]).await.json();
        assert_eq!((&explained["state"], &explained["endReason"]), (&json!("ended"), &json!("user_deleted")));
        service.refused(service.refresh(&alice.refresh), reqwest::StatusCode::UNAUTHORIZED,
            "INVALID_REFRESH_TOKEN").await;
        service.refused(service.me(&alice.access), reqwest::StatusCode::UNAUTHORIZED,
            "INVALID_ACCESS_TOKEN").await;
        service.refreshed(&bob.refresh).await;
        // Who signs in again is somebody new.
        let again = service.signed_in_as("alice").await;
        assert_ne!(claims(&again.access)["sub"], json!(id));
        assert_eq!(claims(&again.access)["roles"], claims(&alice.access)["roles"]);
    }
}
