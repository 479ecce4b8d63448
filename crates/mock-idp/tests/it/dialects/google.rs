//! Google's dialect.

use mintgate_mock_idp::Dialect;
use serde_json::{Value, json};

use super::{answered, id_claims, speaking, with_user};

#[tokio::test]
async fn the_id_token_names_the_organisation_and_the_authorized_party() {
    let mock = speaking(Dialect::Google).await;
    let claims = id_claims(&mock.log_in("alice", &[]).await);
    assert_eq!(claims["iss"], mock.idp.issuer());
    assert_eq!((&claims["azp"], &claims["aud"]), (&json!("mintgate"), &json!("mintgate")));
    assert_eq!(claims["hd"], "example.com");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["nonce"], "n-0S6");
    for absent in ["groups", "preferred_username", "sid", "acr"] {
        assert!(!claims.contains_key(absent), "{absent}");
    }
}

#[tokio::test]
async fn a_private_account_has_no_organisation() {
    let mock = with_user(Dialect::Google, |dora| dora.email = "dora@gmail.com".into()).await;
    let tokens = mock.log_in("dora", &[]).await;
    assert!(!id_claims(&tokens).contains_key("hd"));
    let info: Value = mock.userinfo(&tokens).await.json().await.unwrap();
    assert_eq!((info.get("hd"), &info["email"]), (None, &json!("dora@gmail.com")));
}

#[tokio::test]
async fn a_refresh_token_comes_with_access_type_offline_alone() {
    let mock = speaking(Dialect::Google).await;
    let scope = ("scope", "openid offline_access");
    assert!(mock.log_in("alice", &[scope]).await.get("refresh_token").is_none());
    assert!(mock.log_in("alice", &[("access_type", "offline")]).await["refresh_token"].is_string());
}

#[tokio::test]
async fn a_wrong_redirect_uri_has_an_error_of_its_own() {
    let mock = speaking(Dialect::Google).await;
    let code = mock.code("alice", &[]).await["code"].clone();
    let answer = mock.redeem(&code, &[("redirect_uri", "https://app.example.com/")]).await;
    let (status, body) = answered(answer).await;
    assert_eq!((status, &body["error"]), (400, &json!("redirect_uri_mismatch")));
    assert_eq!(mock.refused_code().await.1["error"], "invalid_grant");
    assert_eq!(mock.refused_client().await.1["error"], "invalid_client");
}
