//! Cognito's dialect.

use mintgate_mock_idp::Dialect;
use serde_json::{Value, json};

use super::{id_claims, speaking, text};
use crate::support::part;

#[tokio::test]
async fn claims_have_prefixes_and_tokens_say_their_use() {
    let mock = speaking(Dialect::Cognito).await;
    let tokens = mock.log_in("alice", &[]).await;
    let claims = id_claims(&tokens);
    assert_eq!(claims["cognito:groups"], json!(["admins", "engineering"]));
    assert_eq!(
        (&claims["cognito:username"], &claims["token_use"]),
        (&json!("alice"), &json!("id"))
    );
    assert_eq!(claims["email_verified"], true);
    assert!(!claims.contains_key("groups"));
    let access = part(text(&tokens["access_token"]), 1);
    assert_eq!((&access["token_use"], access.get("aud")), (&json!("access"), None));
    let info: Value = mock.userinfo(&tokens).await.json().await.unwrap();
    assert_eq!(info["email_verified"], "true");
}

#[tokio::test]
async fn endpoints_are_not_under_the_issuer() {
    let mock = speaking(Dialect::Cognito).await;
    let document = mock.discovered().await;
    assert!(text(&document["jwks_uri"]).starts_with(mock.idp.issuer()));
    assert!(!text(&document["token_endpoint"]).starts_with(mock.idp.issuer()));
}

#[tokio::test]
async fn refusals_have_no_description() {
    let mock = speaking(Dialect::Cognito).await;
    assert_eq!(mock.refused_client().await, (400, json!({ "error": "invalid_client" })));
    assert_eq!(mock.refused_code().await, (400, json!({ "error": "invalid_grant" })));
}
