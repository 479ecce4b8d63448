//! Microsoft Entra ID: tenants, and people with more groups than a token holds.

use super::{Place, SECRET, place, rule, speaking};
use mintgate_mock_idp::{Dialect, DialectOptions, MockConfig, MockUser, Overage, entra_object_id};
use reqwest::StatusCode;
use serde_json::json;

const HOME: &str = "5a1c3e70-0d2b-4c7e-9f11-6d0c8b6f4e21";
const OTHER: &str = "c2f0a9b4-3d57-4e0f-8a61-7b9e5d4c3b2a";
const THIRD: &str = "11111111-2222-4333-8444-555555555555";
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

fn mock() -> MockConfig {
    let mut mock = speaking(Dialect::Entra);
    for (name, tenant) in [("dora", OTHER), ("eve", THIRD)] {
        let mut guest = MockUser::new(name, name, true, &[]);
        guest.tenant = Some(tenant.to_owned());
        // The address of somebody else, as anybody can claim in a tenant of their own.
        "alice@example.com".clone_into(&mut guest.email);
        mock.users.push(guest);
    }
    mock
}

async fn entra(mock: MockConfig, tenant: &str, lines: &str) -> Place {
    let lines = format!(
        "preset = \"entra\"\ndomain = \"ORIGIN\"\ngraph = \"ORIGIN\"\ntenant = \"{tenant}\"\n{SECRET}\n{lines}"
    );
    let condition = format!("equals = \"{}\"", entra_object_id("admins"));
    place(mock, &lines, &rule("groups", &condition)).await
}

#[tokio::test]
async fn entra_signs_in_one_tenant_with_its_groups() {
    let place = entra(mock(), HOME, "").await;
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "user"]));
    assert!(said.get("mail").is_none(), "there is no email_verified");
    assert!(place.identity(&said).await.contains(&format!("/{HOME}/v2.0")));
}

#[tokio::test]
async fn entra_signs_in_the_tenants_that_are_let_in_each_as_an_issuer_of_its_own() {
    let tenants = format!("tenants = [\"{HOME}\", \"{OTHER}\"]");
    let place = entra(mock(), "organizations", &tenants).await;
    let alice = place.claims_of("alice").await;
    let dora = place.claims_of("dora").await;
    assert_ne!(alice["sub"], dora["sub"], "the same address is no reason to be the same user");
    let dump = place.service.dump().await;
    for tenant in [HOME, OTHER] {
        let issuer = format!("/{tenant}/v2.0");
        assert!(dump.rows("external_identities").iter().any(|row| row.contains(&issuer)));
    }
}

#[tokio::test]
async fn case_23_entra_does_not_sign_in_a_tenant_that_is_not_let_in() {
    let tenants = format!("tenants = [\"{HOME}\", \"{OTHER}\"]");
    let place = entra(mock(), "common", &tenants).await;
    place.refusal("eve", UNAUTHORIZED, "INVALID_ID_TOKEN").await;
    // Nothing but the list keeps her out.
    let place = entra(mock(), "common", &format!("tenants = [\"{THIRD}\"]")).await;
    place.claims_of("eve").await;
}

fn with_overage(overage: Overage) -> MockConfig {
    let options = DialectOptions { groups_limit: 1, overage, ..DialectOptions::default() };
    MockConfig { options, ..mock() }
}

#[tokio::test]
async fn case_31_entra_groups_that_are_too_many_are_followed_to_the_graph() {
    for overage in [Overage::Distributed, Overage::HasGroups] {
        let place = entra(with_overage(overage), HOME, "group_overage = \"follow\"").await;
        assert_eq!(place.claims_of("alice").await["roles"], json!(["lead", "user"]));
        assert_eq!(place.idp.control().stats().graph, 1);
    }
}

#[tokio::test]
async fn case_31_entra_groups_that_are_too_many_are_refused_or_left_out_as_is_configured() {
    let place = entra(with_overage(Overage::Distributed), HOME, "group_overage = \"refuse\"").await;
    place.refusal("alice", UNAUTHORIZED, "INVALID_ID_TOKEN").await;
    assert_eq!(place.claims_of("bob").await["roles"], json!(["user"]), "he has few enough");
    let place = entra(with_overage(Overage::Distributed), HOME, "").await;
    assert_eq!(place.claims_of("alice").await["roles"], json!(["user"]));
    assert_eq!(place.idp.control().stats().graph, 0);
}
