//! Sessions, roles and the outcome of commands.

use mintgate_domain::SecretText;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{mintgate, options};
use crate::common::{Options, Store, TestService, assert_error, claims};
use crate::on_both_stores;

on_both_stores! {
    async fn one_session_ends_alone_and_says_why(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let (first, second) = (service.signed_in().await, service.signed_in().await);
        let ended = service.operate(&["sessions", "end", "--json", &first.sid()]).await.json();
        assert_eq!((&ended["changed"], &ended["sessionsEnded"]), (&json!(true), &json!(1)));
        let again = service.operate(&["sessions", "end", "--json", &first.sid()]).await.json();
        assert_eq!((&again["changed"], &again["sessionsEnded"]), (&json!(false), &json!(0)));
        service.refused(service.refresh(&first.refresh), StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        service.refused(service.me(&first.access), StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        let second = service.refreshed(&second.refresh).await;

        let explained = service.operate(&["sessions", "explain", "--json", &first.sid()]).await.json();
        assert_eq!((&explained["state"], &explained["endReason"]), (&json!("ended"), &json!("admin")));
        assert_eq!(explained["ip"], "127.0.0.0/24");
        let text = service.operate(&["sessions", "explain", &first.sid()]).await.done();
        assert!(text.contains("operator") && text.contains("127.0.0.0/24"), "{text}");
        let list = service.operate(&["sessions", "list", "--json", "alice"]).await.json();
        let states: Vec<_> = list["sessions"].as_array().unwrap().iter().map(|s| &s["state"]).collect();
        assert_eq!(states, [&json!("live"), &json!("ended")], "the last opened first");
        let live = service.operate(&["sessions", "list", "--live", "--json", "alice"]).await.json();
        assert_eq!(live["sessions"].as_array().unwrap().len(), 1);
        assert_eq!(live["sessions"][0]["sid"], second.sid());
        service.operate(&["sessions", "end", "00000000-0000-7000-8000-000000000000"]).await.refused();
        service.operate(&["sessions", "show", "no id"]).await.refused();
    }

    async fn a_reason_that_somebody_has_made_up_reads_as_ended(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let tokens = service.signed_in().await;
        service.sql(
            "UPDATE sessions SET revoked_at = 1, revoke_reason = 'operator ended it'",
            "UPDATE sessions SET revoked_at = now(), revoke_reason = 'operator ended it'",
        ).await;
        service.refused(service.refresh(&tokens.refresh), StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        service.refused(service.me(&tokens.access), StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        let shown = service.operate(&["sessions", "show", "--json", &tokens.sid()]).await.json();
        assert_eq!((&shown["state"], &shown["endReason"]), (&json!("ended"), &json!("other")));
    }

    async fn roles_that_are_granted_count_from_the_next_sign_in(store: Store) {
        let service = TestService::start_with(store, options()).await;
        service.signed_in_as("bob").await;
        let roles = async || {
            let tokens = service.signed_in_as("bob").await;
            let roles = claims(&tokens.access)["roles"].as_array().unwrap().clone();
            roles.iter().map(|role| role.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let before = roles().await;
        let granted = service.operate(&["users", "grant", "bob@example.com", "auditor", "--json"]).await;
        assert_eq!(granted.json()["changed"], true);
        let granted = service.operate(&["users", "grant", "--json", "Bob", "Builder", "auditor"]).await;
        assert_eq!(granted.json()["changed"], false);
        assert!(roles().await.contains(&"auditor".to_owned()));
        let revoked = service.operate(&["users", "revoke-role", "--json", "bob", "auditor"]).await;
        assert_eq!(revoked.json()["changed"], true);
        assert_eq!(roles().await, before);
        // By hand, as no command grants it.
        service.sql(
            "UPDATE users SET granted_roles = '[\"bad role\"]'",
            "UPDATE users SET granted_roles = '{\"bad role\"}'",
        ).await;
        assert!(roles().await.contains(&"bad role".to_owned()));
        let revoked = service.operate(&["users", "revoke-role", "--json", "bob", "bad role"]).await;
        assert_eq!(revoked.json()["changed"], true);
        assert_eq!(roles().await, before);
    }
}

#[tokio::test]
async fn with_the_store_cut_off_nothing_is_said_to_be_done() {
    if !mintgate_testkit::postgres::is_given() {
        return;
    }
    let options = Options { behind_a_line: true, store_timeout_ms: 1000, ..options() };
    let service = TestService::start_with(Store::Postgres, options).await;
    let tokens = service.signed_in().await;
    let user = service.user_id("alice").await;
    service.line().cut();
    let disable = format!("/admin/v1/users/{user}/disable");
    for arguments in [
        &["users", "disable", &user][..],
        &["users", "delete", "--yes", &user],
        &["sessions", "end-all", &user],
        &["sessions", "end", &tokens.sid()],
        &["users", "find", "alice"],
    ] {
        let refused = service.operate(arguments).await.refused();
        assert!(refused.contains("nothing was changed"), "{refused}");
    }
    let answer = service.client.post(service.ops_url(&disable)).bearer_auth("writer").send().await;
    assert_error(answer.unwrap(), StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
    service.line().restore();
    service.until_ready().await;
    let tokens = service.refreshed(&tokens.refresh).await;
    assert_eq!(service.me(&tokens.access).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_exit_code_2_and_a_broken_provider_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mintgate.toml");
    let store = format!("[store]\nurl = \"sqlite://{}/test.db\"", dir.path().display());
    std::fs::write(&file, format!("{store}\n[[providers]]\nid = 5")).unwrap();
    mintgate(&file, &["migrate"]).await.done();
    let listed: Value = mintgate(&file, &["users", "list", "--json"]).await.json();
    assert_eq!(listed, json!({ "users": [], "next": null }));
    std::fs::write(&file, "[store]\nurl = \"oracle://x\"").unwrap();
    assert_eq!(mintgate(&file, &["users", "list"]).await.code, 2);
    // A file whose schema is not there yet.
    let store = format!("[store]\nurl = \"sqlite://{}/new.db\"", dir.path().display());
    std::fs::write(&file, store).unwrap();
    let refused = mintgate(&file, &["users", "list"]).await.refused();
    assert!(refused.contains("mintgate migrate"), "{refused}");
}

#[tokio::test]
async fn a_token_of_the_admin_api_is_made_with_its_hash_and_the_lines_to_configure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("none.toml");
    let arguments = ["admin", "new-token", "on call", "--scope", "write", "--json"];
    let made = mintgate(&file, &arguments).await.json();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["hash"], mintgate_domain::TokenHash::of(token).to_hex());
    assert_eq!(
        (token.len(), &made["name"], &made["scope"]),
        (43, &json!("on call"), &json!("write"))
    );
    let text = mintgate(&file, &["admin", "new-token", "ops"]).await.done();
    let lines = text.split_once("[[admin.tokens]]").unwrap().1;
    assert!(lines.contains("name = \"ops\"") && lines.contains("scope = \"read\""), "{text}");
}

#[tokio::test]
async fn a_secret_of_a_client_is_made_with_its_hash_and_the_lines_to_configure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("none.toml");
    let made = mintgate(&file, &["clients", "new", "jobs", "--json"]).await.json();
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(made["secret_hash"], mintgate_domain::TokenHash::of(secret).to_hex());
    assert_eq!((secret.len(), &made["id"]), (43, &json!("jobs")));
    let address_key = made["address_key"].as_str().unwrap();
    assert!(address_key.len() == 43 && address_key != secret);

    let text = mintgate(&file, &["clients", "new"]).await.done();
    let (shown, lines) = text.split_once("The lines for the configuration:").unwrap();
    let secret = shown.lines().find_map(|line| line.strip_prefix("    ")).unwrap();
    let provider = "[[providers]]\nid = \"corp\"\nissuer = \"https://idp.example.com\"\n\
                    client_id = \"mintgate\"\nclient_secret = \"x\"\n\
                    redirect_uris = [\"https://app.example.com/callback\"]\n";
    let lines = lines.replace("# address_key", "address_key");
    let settings = mintgate::settings::Settings::from_toml(&format!("{lines}{provider}")).unwrap();
    let client = settings.clients.authenticate("app", &SecretText::new(secret));
    assert!(client.is_some_and(|client| client.address_key.is_some()), "{text}");
}
