//! The presets of OpenID Connect that authenticate with a secret.

use super::{Place, SECRET, place, rule, speaking};
use mintgate_mock_idp::{
    Dialect, DialectOptions, FaultKind, Faults, IdTokenRecipe, MockConfig, MockUser, Refusal,
};
use reqwest::StatusCode;
use serde_json::json;

const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

/// A provider whose issuer is the mock's, with a rule that makes a `lead`.
async fn at(dialect: Dialect, lines: &str, claim: &str, condition: &str) -> Place {
    let more = match dialect {
        Dialect::Okta => "domain = \"okta.example.com\"",
        Dialect::Adfs => "domain = \"adfs.example.com\"",
        Dialect::Keycloak => "domain = \"keycloak.example.com\"\nrealm = \"x\"",
        Dialect::Auth0 => "domain = \"auth0.example.com\"",
        Dialect::Cognito => "region = \"eu-central-1\"\npool = \"eu-central-1_x\"",
        _ => "",
    };
    let lines = format!("preset = \"{dialect}\"\n{more}\nissuer = \"ISSUER\"\n{SECRET}\n{lines}");
    place(speaking(dialect), &lines, &rule(claim, condition)).await
}

#[tokio::test]
async fn google_signs_in_the_people_of_a_hosted_domain() {
    let place =
        at(Dialect::Google, "hosted_domain = \"example.com\"", "hd", "equals = \"example.com\"")
            .await;
    let begun = place.service.begin_login("p").await;
    assert!(begun.authorization_url.contains("hd=example.com"), "{}", begun.authorization_url);
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "staff", "user"]));
    assert_eq!((&said["mail"], &said["who"]), (&json!("alice@example.com"), &json!("Alice Admin")));
}

#[tokio::test]
async fn google_does_not_sign_in_an_account_from_elsewhere() {
    let mut mock = speaking(Dialect::Google);
    let mut private = MockUser::new("dora", "Dora Distant", true, &[]);
    "dora@gmail.com".clone_into(&mut private.email);
    mock.users.push(private);
    let lines = format!(
        "preset = \"google\"\nissuer = \"ISSUER\"\n{SECRET}\nhosted_domain = \"example.com\""
    );
    let place = place(mock, &lines, "").await;
    let reason = place.refusal("dora", UNAUTHORIZED, "INVALID_ID_TOKEN").await;
    assert!(reason.contains("hd"), "{reason}");
}

#[tokio::test]
async fn okta_signs_in_with_groups_from_userinfo() {
    let mut mock = speaking(Dialect::Okta);
    mock.options = DialectOptions { thin_id_tokens: true, ..DialectOptions::default() };
    let lines = format!("preset = \"okta\"\ndomain = \"ORIGIN\"\n{SECRET}");
    let place = place(mock, &lines, &rule("groups", "in = [\"admins\"]")).await;
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "staff", "user"]));
    assert_eq!(said["mail"], "alice@example.com");
    assert_eq!(place.idp.control().stats().userinfo, 1);
}

#[tokio::test]
async fn okta_asked_at_another_authorization_server_than_its_own_is_no_provider() {
    let lines = format!("preset = \"okta\"\ndomain = \"ORIGIN\"\nserver = \"aus1\"\n{SECRET}");
    let place = place(speaking(Dialect::Okta), &lines, "").await;
    let reason = place.refusal_to_begin(BAD_GATEWAY, "PROVIDER_ERROR").await;
    assert!(reason.contains("404"), "{reason}");
}

#[tokio::test]
async fn adfs_signs_in_with_its_claims_for_a_resource() {
    let place = at(
        Dialect::Adfs,
        "resource = \"https://api.example.com\"",
        "upn",
        "domain = \"example.com\"",
    )
    .await;
    let begun = place.service.begin_login("p").await;
    let url = &begun.authorization_url;
    assert!(url.contains("resource=https%3A%2F%2Fapi.example.com"), "{url}");
    assert!(url.contains("scope=openid+allatclaims"), "{url}");
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "user"]), "its addresses are not verified");
    // bob has one group, which comes as a text where others have a list.
    let place = at(Dialect::Adfs, "", "groups", "equals = \"engineering\"").await;
    assert_eq!(place.claims_of("bob").await["roles"], json!(["lead", "user"]));
    assert_eq!(place.claims_of("alice").await["roles"], json!(["lead", "user"]));
}

#[tokio::test]
async fn adfs_that_does_not_know_the_client_is_our_fault_and_says_so() {
    let place = at(Dialect::Adfs, "", "upn", "domain = \"example.com\"").await;
    let refusal = Some(Refusal::Client);
    place.idp.control().set_faults(Faults { refusal, ..Faults::default() });
    let reason = place.refusal("alice", BAD_GATEWAY, "PROVIDER_ERROR").await;
    assert!(reason.contains("MSIS9622") && reason.contains("client_secret"), "{reason}");
}

#[tokio::test]
async fn gitlab_signs_in_with_groups_from_userinfo() {
    let lines = format!("preset = \"gitlab\"\ndomain = \"ORIGIN\"\n{SECRET}");
    let place =
        place(speaking(Dialect::Gitlab), &lines, &rule("groups", "in = [\"admins\"]")).await;
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "staff", "user"]));
}

#[tokio::test]
async fn gitlab_whose_userinfo_is_about_somebody_else_signs_nobody_in() {
    let place = at(Dialect::Gitlab, "", "groups", "in = [\"admins\"]").await;
    let other = json!({ "sub": "mock|mallory", "groups": ["admins"] });
    let userinfo_merge = other.as_object().cloned().unwrap();
    place.idp.control().set_faults(Faults { userinfo_merge, ..Faults::default() });
    place.refusal("bob", UNAUTHORIZED, "INVALID_ID_TOKEN").await;
    place.idp.control().clear_faults();
    place.claims_of("bob").await;
}

#[tokio::test]
async fn keycloak_signs_in_with_realm_and_client_roles() {
    let lines =
        format!("preset = \"keycloak\"\ndomain = \"ORIGIN\"\nrealm = \"mintgate\"\n{SECRET}");
    let rules = rule("realm_access.roles", "in = [\"admins\"]")
        + "[[roles.rules]]\nprovider = \"p\"\nclaim = \"resource_access.mintgate.roles\"\n\
           equals = \"engineering\"\ngrant = [\"builder\"]\n";
    let place = place(speaking(Dialect::Keycloak), &lines, &rules).await;
    assert_eq!(place.claims_of("alice").await["roles"], json!(["lead", "staff", "user"]));
    assert_eq!(place.claims_of("bob").await["roles"], json!(["builder", "staff", "user"]));
}

#[tokio::test]
async fn keycloak_asked_for_a_realm_under_the_old_path_is_no_provider() {
    let lines =
        format!("preset = \"keycloak\"\ndomain = \"ORIGIN/auth\"\nrealm = \"mintgate\"\n{SECRET}");
    let place = place(speaking(Dialect::Keycloak), &lines, "").await;
    let reason = place.refusal_to_begin(BAD_GATEWAY, "PROVIDER_ERROR").await;
    assert!(reason.contains("404"), "{reason}");
}

#[tokio::test]
async fn auth0_signs_in_with_namespaced_roles_for_an_audience() {
    let lines = format!(
        "preset = \"auth0\"\ndomain = \"ORIGIN\"\naudience = \"https://api.example.com\"\n{SECRET}"
    );
    let rules = rule("https://mintgate.example/roles", "in = [\"admins\"]");
    let place = place(speaking(Dialect::Auth0), &lines, &rules).await;
    let begun = place.service.begin_login("p").await;
    assert!(begun.authorization_url.contains("audience=https%3A%2F%2Fapi.example.com"));
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "staff", "user"]));
    assert!(place.identity(&said).await.contains(place.idp.issuer()), "with its slash");
}

#[tokio::test]
async fn auth0_without_the_slash_of_its_issuer_is_another_issuer() {
    let lines = format!("preset = \"auth0\"\nissuer = \"ORIGIN\"\n{SECRET}");
    let place = place(speaking(Dialect::Auth0), &lines, "").await;
    let reason = place.refusal_to_begin(BAD_GATEWAY, "PROVIDER_ERROR").await;
    assert!(reason.contains(place.idp.issuer()), "{reason}");
}

#[tokio::test]
async fn cognito_signs_in_with_its_groups() {
    let place = at(Dialect::Cognito, "", "cognito:groups", "in = [\"admins\"]").await;
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "staff", "user"]));
}

#[tokio::test]
async fn cognito_whose_token_is_for_something_else_signs_nobody_in() {
    let place = at(Dialect::Cognito, "", "cognito:groups", "in = [\"admins\"]").await;
    let claims = json!({ "token_use": "access" });
    let recipe =
        IdTokenRecipe { claims: claims.as_object().cloned().unwrap(), ..IdTokenRecipe::default() };
    place.idp.control().set_faults(Faults { id_token: Some(recipe), ..Faults::default() });
    let reason = place.refusal("alice", UNAUTHORIZED, "INVALID_ID_TOKEN").await;
    assert!(reason.contains("token_use"), "{reason}");
}

#[tokio::test]
async fn oidc_signs_in_at_any_provider_with_pkce_nonce_and_state() {
    let lines = format!(
        "preset = \"oidc\"\nissuer = \"ISSUER\"\n{SECRET}\npkce = \"required\"\nnonce = \"required\""
    );
    let mock = MockConfig { iss_parameter: Some(true), ..speaking(Dialect::Plain) };
    let place = place(mock, &lines, &rule("groups", "in = [\"admins\"]")).await;
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "staff", "user"]));
    assert_eq!(said["mail"], "alice@example.com");
}

#[tokio::test]
async fn oidc_without_an_id_token_is_no_answer() {
    let lines = format!("issuer = \"ISSUER\"\n{SECRET}");
    let place = place(speaking(Dialect::Plain), &lines, "").await;
    let token_merge = json!({ "id_token": null }).as_object().cloned().unwrap();
    place.idp.control().set_faults(Faults { token_merge, ..Faults::default() });
    let reason = place.refusal("alice", BAD_GATEWAY, "PROVIDER_ERROR").await;
    assert!(reason.contains("id_token"), "{reason}");
}

#[tokio::test]
async fn every_dialects_refused_code_is_an_invalid_code_and_its_outage_is_not() {
    for dialect in
        [Dialect::Google, Dialect::Okta, Dialect::Adfs, Dialect::Keycloak, Dialect::Auth0]
    {
        let place = at(dialect, "", "sub", "equals = \"nobody\"").await;
        let refusal = Some(Refusal::UsedCode);
        place.idp.control().set_faults(Faults { refusal, ..Faults::default() });
        place.refusal("alice", UNAUTHORIZED, "INVALID_AUTH_CODE").await;
        let outage = FaultKind::Status { status: 503, body: String::new() };
        let token = Some(outage.into());
        place.idp.control().set_faults(Faults { token, ..Faults::default() });
        place.refusal("alice", BAD_GATEWAY, "PROVIDER_ERROR").await;
    }
}
