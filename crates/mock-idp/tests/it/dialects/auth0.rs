//! Auth0's dialect.

use mintgate_mock_idp::Dialect;
use serde_json::{Value, json};

use super::{id_claims, speaking, text};
use crate::support::part;

#[tokio::test]
async fn the_issuer_ends_in_a_slash_and_roles_have_a_namespace() {
    let mock = speaking(Dialect::Auth0).await;
    assert_eq!(mock.idp.issuer(), format!("http://{}/", mock.idp.address()));
    let tokens = mock.log_in("alice", &[]).await;
    let claims = id_claims(&tokens);
    assert_eq!(claims["iss"], mock.idp.issuer());
    assert_eq!(claims["https://mintgate.example/roles"], json!(["admins", "engineering"]));
    assert!(!claims.contains_key("groups"));
    let info: Value = mock.userinfo(&tokens).await.json().await.unwrap();
    assert_eq!(info["https://mintgate.example/roles"], json!(["admins", "engineering"]));
}

#[tokio::test]
async fn an_access_token_is_a_jwt_if_an_audience_was_asked_for() {
    let mock = speaking(Dialect::Auth0).await;
    let opaque = mock.log_in("alice", &[]).await;
    assert!(!text(&opaque["access_token"]).contains('.'));
    let tokens = mock.log_in("alice", &[("audience", "https://api.example.com")]).await;
    let access = part(text(&tokens["access_token"]), 1);
    assert_eq!(access["aud"][0], "https://api.example.com");
    assert_eq!(mock.userinfo(&tokens).await.status(), 200);
}

#[tokio::test]
async fn refusals_have_unusual_codes() {
    let mock = speaking(Dialect::Auth0).await;
    let (status, body) = mock.refused_client().await;
    assert_eq!((status, &body["error"]), (401, &json!("access_denied")));
    let (status, body) = mock.refused_code().await;
    assert_eq!((status, &body["error"]), (403, &json!("invalid_grant")));
}
