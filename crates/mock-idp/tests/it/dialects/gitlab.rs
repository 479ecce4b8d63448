//! GitLab's dialect.

use mintgate_mock_idp::Dialect;
use serde_json::{Value, json};

use super::{id_claims, speaking};

#[tokio::test]
async fn direct_groups_are_in_the_id_token_and_all_of_them_in_userinfo() {
    let mock = speaking(Dialect::Gitlab).await;
    let tokens = mock.log_in("alice", &[]).await;
    let claims = id_claims(&tokens);
    assert_eq!(claims["groups_direct"], json!(["admins", "engineering"]));
    assert_eq!((claims.get("groups"), &claims["nickname"]), (None, &json!("alice")));
    let info: Value = mock.userinfo(&tokens).await.json().await.unwrap();
    assert_eq!(info["groups"], json!(["admins", "engineering"]));
    assert!(info.get("groups_direct").is_none());
}

#[tokio::test]
async fn refusals_are_in_its_words() {
    let mock = speaking(Dialect::Gitlab).await;
    let (status, body) = mock.refused_client().await;
    assert_eq!((status, &body["error"]), (401, &json!("invalid_client")));
    let (status, body) = mock.refused_code().await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    let description = body["error_description"].as_str().unwrap();
    assert!(description.contains("was issued to another client"), "{description}");
}
