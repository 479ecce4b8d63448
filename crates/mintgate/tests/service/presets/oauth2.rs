//! Providers without ID tokens: GitHub, and any other.

use super::{Place, SECRET, place, rule, speaking};
use mintgate_mock_idp::{Dialect, FaultKind, Faults, MockUser, Refusal};
use reqwest::StatusCode;
use serde_json::json;

const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

async fn github(rules: &str) -> Place {
    let mut mock = speaking(Dialect::Github);
    let mut shy = MockUser::new("shy", "Shy Person", true, &[]);
    shy.public_email = false;
    mock.users.push(shy);
    let lines = format!("preset = \"github\"\ndomain = \"ORIGIN\"\napi = \"ORIGIN\"\n{SECRET}");
    place(mock, &lines, rules).await
}

#[tokio::test]
async fn github_signs_in_by_its_numeric_id_with_the_verified_address() {
    let place = github(&rule("preferred_username", "in = [\"alice\", \"shy\"]")).await;
    let begun = place.service.begin_login("p").await;
    let url = &begun.authorization_url;
    assert!(url.contains("scope=read%3Auser+user%3Aemail") && !url.contains("nonce"), "{url}");
    assert!(url.contains("code_challenge_method=S256"), "{url}");
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "staff", "user"]));
    assert_eq!(said["mail"], "alice@example.com");
    let row = place.identity(&said).await;
    assert!(!row.contains("alice"), "not by the login, which can change hands: {row}");
    let shy = place.claims_of("shy").await;
    assert_eq!(shy["mail"], "shy@example.com", "from the list, where the profile has none");
    let carol = place.claims_of("carol").await;
    assert!(carol.get("mail").is_none(), "her address is not verified");
}

#[tokio::test]
async fn case_16_github_says_no_under_http_200() {
    let place = github("").await;
    let refuse = |refusal| {
        place.idp.control().set_faults(Faults { refusal: Some(refusal), ..Faults::default() });
    };
    refuse(Refusal::Code);
    let reason = place.refusal("alice", UNAUTHORIZED, "INVALID_AUTH_CODE").await;
    assert!(reason.contains("bad_verification_code"), "{reason}");
    refuse(Refusal::Client);
    let reason = place.refusal("alice", BAD_GATEWAY, "PROVIDER_ERROR").await;
    assert!(reason.contains("incorrect_client_credentials"), "{reason}");
}

/// Any provider of OAuth 2.0; `subject` is where its user endpoint says who somebody is.
async fn hub(subject: &str) -> Place {
    let lines = format!(
        "preset = \"oauth2\"\nissuer = \"https://hub.example.com\"\n\
         authorization_endpoint = \"ORIGIN/login/oauth/authorize\"\n\
         token_endpoint = \"ORIGIN/login/oauth/access_token\"\nuser_endpoint = \"ORIGIN/user\"\n\
         subject = \"{subject}\"\nclaims = [\"handle=login\"]\nscopes = [\"read:user\"]\n\
         client_auth = \"client_secret_post\"\n{SECRET}"
    );
    place(speaking(Dialect::Github), &lines, &rule("handle", "matches = \"al.*\"")).await
}

#[tokio::test]
async fn an_oauth2_provider_signs_in_as_its_user_endpoint_says() {
    let place = hub("id").await;
    let said = place.claims_of("alice").await;
    assert_eq!(said["roles"], json!(["lead", "user"]), "nobody has verified the address");
    assert!(place.identity(&said).await.contains("https://hub.example.com"));
}

#[tokio::test]
async fn an_oauth2_provider_whose_answer_has_no_such_subject_signs_nobody_in() {
    let place = hub("account.uuid").await;
    let reason = place.refusal("alice", BAD_GATEWAY, "PROVIDER_ERROR").await;
    assert!(reason.contains("account.uuid"), "{reason}");
}

#[tokio::test]
async fn github_that_says_no_id_signs_nobody_in() {
    let place = github("").await;
    let userinfo = FaultKind::Body {
        body: json!({ "login": "alice", "id": null }).to_string(),
        content_type: "application/json".to_owned(),
    };
    let userinfo = Some(userinfo.into());
    place.idp.control().set_faults(Faults { userinfo, ..Faults::default() });
    place.refusal("alice", BAD_GATEWAY, "PROVIDER_ERROR").await;
}
