//! Keycloak's dialect.

use mintgate_mock_idp::Dialect;
use serde_json::json;

use super::{id_claims, speaking, text};
use crate::support::part;

#[tokio::test]
async fn roles_are_nested_under_realm_and_client() {
    let mock = speaking(Dialect::Keycloak).await;
    assert!(mock.idp.issuer().ends_with("/realms/mintgate"));
    let tokens = mock.log_in("alice", &[]).await;
    for claims in [id_claims(&tokens), part(text(&tokens["access_token"]), 1)] {
        assert_eq!(claims["realm_access"], json!({ "roles": ["admins", "engineering"] }));
        assert_eq!(claims["resource_access"], json!({ "mintgate": { "roles": ["admins"] } }));
        assert_eq!(claims["azp"], "mintgate");
        assert_eq!(claims["iss"], mock.idp.issuer());
    }
    assert_eq!(id_claims(&tokens)["typ"], "ID");
    assert_eq!(part(text(&tokens["access_token"]), 1)["typ"], "Bearer");
    assert!(mock.code("alice", &[]).await.contains_key("iss"));
}

#[tokio::test]
async fn refusals_are_in_its_words() {
    let mock = speaking(Dialect::Keycloak).await;
    let (status, body) = mock.refused_client().await;
    assert_eq!((status, &body["error"]), (401, &json!("unauthorized_client")));
    let (status, body) = mock.refused_code().await;
    assert_eq!((status, &body["error_description"]), (400, &json!("Code not valid")));
}
