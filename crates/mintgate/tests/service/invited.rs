//! Invited people only.

use crate::common::login::LOGIN;
use crate::common::{Options, Store, TestService};
use crate::on_both_stores;
use reqwest::StatusCode;
use serde_json::json;

fn listed(lines: &str) -> Options {
    let more = format!("[users]\nadmission = \"listed\"\n{lines}");
    Options { more, ..Options::default() }
}

on_both_stores! {
    async fn whoever_is_listed_signs_in_and_nothing_is_kept_of_anybody_else(store: Store) {
        for lines in [
            "admit_emails = [\"Alice@Example.com\"]",
            "admit_groups = [\"admins\"]",
        ] {
            let service = TestService::start_with(store, listed(lines)).await;
            let answer = service.login(&service.code_for("alice")).await;
            assert_eq!(answer.status(), StatusCode::OK, "{lines}");
            for stranger in ["bob", "nobody-in-particular"] {
                let request = service.post(&crate::common::bare(&service.code_for(stranger)));
                let body = service.refused(request, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
                assert!(body["message"].as_str().unwrap().contains("Ask"), "{body}");
            }
        }
    }
}

#[tokio::test]
async fn an_address_that_is_not_verified_invites_nobody() {
    let lines = "admit_domains = [\"example.com\"]\nadmit_emails = [\"mallory@example.com\"]";
    let service = TestService::start_with(Store::Sqlite, listed(lines)).await;
    let unverified = service.idp().control();
    // Unknown names stand for people with an unverified address.
    let code = unverified.issue_code(crate::common::sign_in("mallory"));
    let request = service.post(&crate::common::bare(&code));
    service.refused(request, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
    let begun = service.login_request(&json!({ "provider": "corp" }));
    assert_eq!(begun.send().await.unwrap().status(), StatusCode::OK, "{LOGIN} tells nobody");
}
