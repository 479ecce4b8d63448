//! `mintgate import`: people of another system sign in here as who they were there.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Printed, options};
use crate::common::{Options, Store, TestService, claims};
use crate::on_both_stores;

const ALICE: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";

fn with_former_ids() -> Options {
    let options = options();
    let more = options.more.replace("[tokens]\n", "[tokens]\nformer_ids_claim = \"former_ids\"\n");
    Options { more, ..options }
}

/// Writes a file of the operator; its path.
fn file(service: &TestService, name: &str, text: &str) -> String {
    let path = service.dir().join(name);
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

/// The mapping of a system whose provider `sso` is ours.
fn mapping(service: &TestService) -> String {
    let issuer = service.idp().issuer();
    let text = format!(
        "source = \"old\"\n[providers.sso]\nprovider = \"corp\"\nissuer = \"{issuer}\"\n\
         subject = \"sub\"\nclient_id = \"any\"\n[providers.email]\nignore = true\n\
         [roles]\nAdmins = \"admin\"\n"
    );
    file(service, "moving.toml", &text)
}

async fn csv(service: &TestService, lines: &[String], options: &[&str]) -> Printed {
    let header =
        "old_id,other_id,provider,subject,email,email_verified,roles,disabled_until,created_at";
    let people = file(service, "people.csv", &format!("{header}\n{}\n", lines.join("\n")));
    let map = mapping(service);
    let mut arguments = vec!["import", "csv", people.as_str(), "--map", map.as_str(), "--json"];
    arguments.extend(options);
    service.operate(&arguments).await
}

fn report(printed: &Printed) -> Value {
    serde_json::from_str(&printed.out).expect("JSON")
}

/// The subject of somebody at the provider.
async fn subject(service: &TestService, user: &str) -> String {
    service.signed_in_as(user).await;
    let id = service.user_id(user).await;
    let shown = service.operate(&["users", "show", "--json", &id]).await.json();
    let subject = shown["identities"][0]["subject"].as_str().expect("a subject").to_owned();
    service.operate(&["users", "delete", "--yes", &id]).await.done();
    subject
}

on_both_stores! {
    async fn who_was_imported_signs_in_as_who_they_were(store: Store) {
        let service = TestService::start_with(store, with_former_ids()).await;
        let (alice, bob) = (subject(&service, "alice").await, subject(&service, "bob").await);
        let lines = [
            format!("{ALICE},legacy-7,sso,{alice},alice@example.com,true,\"Admins,Staff\",,1767323045678"),
            format!("user-2,,sso,{bob},,,,,2026-01-02T03:04:05Z"),
            "user-3,,email,x,carol@example.com,true,,,2026-01-02".to_owned(),
            "user-4,,sso,dan,,,,,1970-01-01".to_owned(),
            "user-5,,sso,eve,,,,forever,2026-01-02".to_owned(),
        ];
        let dry = csv(&service, &lines, &[]).await;
        assert_eq!(dry.code, 3, "{dry:?}");
        assert!(dry.err.contains("--allow moved-session,invalid"), "{dry:?}");
        let report_of = report(&dry);
        assert_eq!(report_of["classes"]["sign-in"]["created"], 3);
        assert_eq!(report_of["classes"]["moved-session"]["first"], json!(["user-3"]));
        assert!(report_of["classes"]["invalid"]["first"][0].as_str().unwrap().starts_with("line 5, id user-4"));
        assert_eq!(report_of["rolesLeftOut"], json!({ "Staff": 1 }));
        let listed = service.operate(&["users", "list", "--json"]).await.json();
        assert_eq!(listed["users"], json!([]), "a dry run writes nothing");

        let allowed = ["--apply", "--allow", "moved-session,invalid"];
        let applied = csv(&service, &lines, &allowed).await;
        assert_eq!((applied.code, report(&applied)["applied"].as_bool()), (0, Some(true)), "{applied:?}");
        let tokens = service.signed_in_as("alice").await;
        let access = claims(&tokens.access);
        assert_eq!(access["sub"], ALICE);
        assert_eq!(access["former_ids"], json!([ALICE, "legacy-7"]));
        assert!(access["roles"].as_array().unwrap().contains(&json!("admin")));
        let refreshed = service.refreshed(&tokens.refresh).await;
        assert_eq!(claims(&refreshed.access)["former_ids"], json!([ALICE, "legacy-7"]));
        let tokens = service.signed_in_as("bob").await;
        assert_eq!(claims(&tokens.access)["former_ids"], json!(["user-2"]));
        assert_eq!(service.user_id("legacy-7").await, ALICE);
        let shown = service.operate(&["users", "show", "user-5", "--json"]).await.json();
        assert!(shown["disabledAt"].is_string(), "{shown}");
        assert_eq!(shown["formerIds"], json!([{ "source": "old", "id": "user-5" }]));
        let audit = service.operate(&["audit", "export"]).await.done();
        assert_eq!(audit.matches("\"people_imported\"").count(), 1);

        let again = csv(&service, &lines, &allowed).await;
        let again = report(&again);
        assert_eq!(again["classes"]["sign-in"]["unchanged"], 3);
        assert_eq!(again["classes"]["moved-session"]["unchanged"], 1);
        let gone = csv(&service, &lines[..2], &allowed).await;
        assert_eq!((gone.code, &report(&gone)["classes"]["gone"]["first"]), (3, &json!(["user-3", "user-5"])));
    }

    async fn nobody_is_matched_by_an_address_or_by_another_issuer(store: Store) {
        let service = TestService::start_with(store, with_former_ids()).await;
        let alice = subject(&service, "alice").await;
        let lines = [format!("{ALICE},,other,{alice},alice@example.com,true,,,")];
        let applied = csv(&service, &lines, &["--apply", "--allow", "moved-session"]).await;
        assert_eq!(applied.code, 0, "{applied:?}");
        let left_out = &report(&applied)["identitiesLeftOut"];
        assert_eq!(left_out["other: this provider is not in the mapping"], 1);
        let tokens = service.signed_in_as("alice").await;
        let access = claims(&tokens.access);
        assert_ne!(access["sub"], ALICE);
        assert_eq!(access.get("former_ids"), None);
    }

    async fn an_export_of_keycloak_is_imported(store: Store) {
        let service = TestService::start_with(store, with_former_ids()).await;
        let alice = subject(&service, "alice").await;
        let issuer = service.idp().issuer();
        let export = |issuer: &str| json!({
            "realm": "shop",
            "identityProviders": [{ "alias": "sso", "config": { "issuer": issuer } }],
            "users": [
                { "id": ALICE, "username": "alice", "enabled": true, "realmRoles": ["Admins"],
                  "federatedIdentities": [{ "identityProvider": "sso", "userId": alice, "userName": "a" }] },
                { "id": "2", "username": "service-account-x", "serviceAccountClientId": "x" },
            ],
        }).to_string();
        let map = mapping(&service);
        let import = async |text: String| {
            let path = file(&service, "shop.json", &text);
            let options = ["--map", &map, "--apply", "--allow", "skipped,moved-session", "--json"];
            service.operate(&[&["import", "keycloak", &path][..], &options].concat()).await
        };
        let wrong = import(export("https://elsewhere.example.com")).await;
        assert_eq!(report(&wrong)["classes"]["moved-session"]["created"], 1, "{wrong:?}");
        let right = import(export(issuer)).await;
        assert_eq!((right.code, &report(&right)["classes"]["sign-in"]["changed"]), (0, &json!(1)), "{right:?}");
        let tokens = service.signed_in_as("alice").await;
        assert_eq!(claims(&tokens.access)["sub"], ALICE);
        assert_eq!(service.me(&tokens.access).send().await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_mapping_that_cannot_be_is_exit_code_2_and_names_each_mistake() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let people = file(&service, "people.csv", "old_id\n1\n");
    let mapping = "source = \"old\"\n[providers.a]\nprovider = \"none\"\nissuer = \"x\"\nsubject = \"sub\"\n\
                   client_id = \"any\"\n[providers.b]\nprovider = \"corp\"\nissuer = \"https://x\"\n\
                   subject = \"sub\"\nclient_id = \"any\"\n";
    let map = file(&service, "moving.toml", mapping);
    let printed = service.operate(&["import", "csv", &people, "--map", &map]).await;
    assert_eq!(printed.code, 2, "{printed:?}");
    assert!(
        printed.err.contains("\"none\"") && printed.err.contains("\"https://x\""),
        "{printed:?}"
    );
    let printed =
        service.operate(&["import", "csv", "/nowhere.csv", "--map", "/nowhere.toml"]).await;
    assert_eq!(printed.code, 2);
}
