//! AD FS's dialect.

use mintgate_mock_idp::Dialect;
use serde_json::{Value, json};

use super::{id_claims, speaking, text};
use crate::support::part;

#[tokio::test]
async fn access_tokens_have_an_issuer_of_their_own() {
    let mock = speaking(Dialect::Adfs).await;
    let document = mock.discovered().await;
    assert!(mock.idp.issuer().ends_with("/adfs"));
    let trust = format!("http://{}/adfs/services/trust", mock.idp.address());
    assert_eq!(document["access_token_issuer"], *trust);
    let tokens = mock.log_in("alice", &[("resource", "https://api.example.com")]).await;
    assert_eq!(id_claims(&tokens)["iss"], mock.idp.issuer());
    let access = part(text(&tokens["access_token"]), 1);
    assert_eq!(access["iss"], *trust);
    assert_eq!(access["aud"], "https://api.example.com");
}

#[tokio::test]
async fn one_group_is_a_string_and_several_are_an_array() {
    let mock = speaking(Dialect::Adfs).await;
    let alice = id_claims(&mock.log_in("alice", &[]).await);
    assert_eq!(alice["groups"], json!(["admins", "engineering"]));
    assert_eq!(
        (&alice["upn"], &alice["unique_name"]),
        (&json!("alice@example.com"), &json!("CORP\\alice"))
    );
    assert!(!alice.contains_key("email_verified") && !alice.contains_key("preferred_username"));
    assert_ne!(alice["sub"], "mock|alice");
    let bob = id_claims(&mock.log_in("bob", &[]).await);
    assert_eq!(bob["groups"], "engineering");
    let carol = id_claims(&mock.log_in("carol", &[]).await);
    assert!(!carol.contains_key("groups"));
}

#[tokio::test]
async fn userinfo_says_the_subject_and_wants_a_token_for_itself() {
    let mock = speaking(Dialect::Adfs).await;
    let tokens = mock.log_in("alice", &[]).await;
    let info: Value = mock.userinfo(&tokens).await.json().await.unwrap();
    assert_eq!(info, json!({ "sub": id_claims(&tokens)["sub"] }));

    let tokens = mock.log_in("alice", &[("resource", "https://api.example.com")]).await;
    let refused = mock.userinfo(&tokens).await;
    assert_eq!(refused.status(), 401);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("MSIS9921"));
}

#[tokio::test]
async fn refusals_carry_msis_numbers() {
    let mock = speaking(Dialect::Adfs).await;
    let (status, body) = mock.refused_code().await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    assert!(text(&body["error_description"]).starts_with("MSIS9612:"));
    let (status, body) = mock.refused_client().await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_client")));
    assert!(text(&body["error_description"]).starts_with("MSIS9622:"));
}

#[tokio::test]
async fn the_endpoints_answer_without_the_slash_too() {
    let mock = speaking(Dialect::Adfs).await;
    let answer = mock.pick(&mock.url("/oauth2/authorize"), "bob", &[]).await;
    assert_eq!(answer.status(), 303);
    let page = mock.http.get(&mock.idp.urls().authorize).query(&[
        ("client_id", "mintgate"),
        ("redirect_uri", crate::support::REDIRECT_URI),
        ("response_type", "code"),
    ]);
    assert!(page.send().await.unwrap().text().await.unwrap().contains("action=\"./\""));
}
