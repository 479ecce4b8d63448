//! Okta's dialect.

use mintgate_mock_idp::{Dialect, DialectOptions, MockConfig};
use serde_json::{Value, json};

use super::{config, id_claims, speaking, text};
use crate::support::{part, start};

#[tokio::test]
async fn the_claim_carries_the_groups_its_filter_lets_through() {
    let options = DialectOptions { groups_prefix: Some("eng".into()), ..DialectOptions::default() };
    let mock = start(MockConfig { options, ..config(Dialect::Okta) }).await;
    assert!(mock.idp.issuer().ends_with("/oauth2/default"));
    let tokens = mock.log_in("alice", &[]).await;
    let claims = id_claims(&tokens);
    assert_eq!(claims["groups"], json!(["engineering"]));
    assert_eq!(claims["ver"], 1);
    assert_eq!(claims["iss"], mock.idp.issuer());
    let access = part(text(&tokens["access_token"]), 1);
    assert_eq!((&access["aud"], &access["cid"]), (&json!("api://default"), &json!("mintgate")));
    assert_eq!(access["groups"], json!(["engineering"]));
}

#[tokio::test]
async fn a_thin_id_token_leaves_the_rest_to_userinfo() {
    let options = DialectOptions { thin_id_tokens: true, ..DialectOptions::default() };
    let mock = start(MockConfig { options, ..config(Dialect::Okta) }).await;
    let tokens = mock.log_in("alice", &[]).await;
    let claims = id_claims(&tokens);
    assert!(!claims.contains_key("groups") && !claims.contains_key("email"));
    let info: Value = mock.userinfo(&tokens).await.json().await.unwrap();
    assert_eq!(info["sub"], claims["sub"]);
    assert_eq!(info["groups"], json!(["admins", "engineering"]));
}

#[tokio::test]
async fn refusals_are_in_its_words() {
    let mock = speaking(Dialect::Okta).await;
    let (status, body) = mock.refused_client().await;
    assert_eq!((status, &body["error"]), (401, &json!("invalid_client")));
    let (status, body) = mock.refused_code().await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    assert!(text(&body["error_description"]).contains("authorization code is invalid"));
}
